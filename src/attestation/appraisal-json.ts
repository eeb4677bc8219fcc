/** A verdict as JSON: bytes as lower-case hex, 64-bit numbers as decimal text, times as ISO 8601. */
import { toHex } from "../base/index.ts";
import type { Verdict } from "./verdict.ts";

export interface VerdictJson {
  readonly verdict: "accepted" | "refused";
  readonly tcbStatus?: string;
  readonly advisories: readonly string[];
  readonly rules: readonly unknown[];
  readonly claims: unknown;
  /** `ageSeconds` at the time of the judgement. */
  readonly collateral?: { readonly issuedAt: string; readonly nextUpdateAt: string; readonly ageSeconds: number };
}

export function verdictToJson(verdict: Verdict<unknown>, now: number): VerdictJson {
  const { tcbStatus, advisories, rules, claims, collateral } = verdict;
  return {
    verdict: verdict.verdict,
    ...(tcbStatus === undefined ? {} : { tcbStatus }),
    advisories,
    rules,
    claims: plain(claims ?? {}),
    ...(collateral ? { collateral: datesOf(collateral, now) } : {}),
  };
}

function datesOf({ issuedAt, nextUpdateAt }: NonNullable<Verdict<unknown>["collateral"]>, now: number) {
  return {
    issuedAt: isoTime(issuedAt),
    nextUpdateAt: isoTime(nextUpdateAt),
    ageSeconds: Math.floor((now - issuedAt) / 1000),
  };
}

/** Certificates may promise the year 9999; what no date can hold is said as such. */
const isoTime = (time: number) =>
  Number.isFinite(time) && Math.abs(time) < 8.64e15 ? new Date(time).toISOString() : "none";

/** Keys and certificates inside claims are of no use in JSON and left out. */
export function plain(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return toHex(value);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item)]));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== "certificates");
  return Object.fromEntries(entries.map(([key, item]) => [key, plain(item)]));
}
