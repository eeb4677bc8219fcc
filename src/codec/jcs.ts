/** Canonical JSON: RFC 8785. */
import { utf8 } from "../base/index.ts";
import { codecError } from "./errors.ts";

/** Nesting of arrays and objects. */
const MAX_DEPTH = 64;

/** Bytes of the canonical form. Throws JCS_INVALID for what JSON cannot hold: undefined, NaN, functions, dates, bytes, lone surrogates. */
export function jcs(value: unknown): Uint8Array {
  return utf8(serialize(value, 0));
}

function serialize(value: unknown, depth: number): string {
  if (depth > MAX_DEPTH) throw codecError("JCS_INVALID", { detail: `nested deeper than ${MAX_DEPTH} levels` });
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") return numberText(value);
  if (typeof value === "string") return stringText(value);
  if (Array.isArray(value)) return `[${Array.from(value, (item) => serialize(item, depth + 1)).join(",")}]`;
  if (isPlainObject(value)) return objectText(value, depth);
  throw codecError("JCS_INVALID", { detail: `a ${typeof value}` });
}

/** A Date, a Map or bytes would come out as an empty object: two values, one text. */
function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** ECMAScript's own number text is what section 3.2.2.3 asks for. */
function numberText(value: number): string {
  if (!Number.isFinite(value)) throw codecError("JCS_INVALID", { detail: String(value) });
  return JSON.stringify(value);
}

function stringText(value: string): string {
  if (!value.isWellFormed()) throw codecError("JCS_INVALID", { detail: "a lone surrogate" });
  return JSON.stringify(value);
}

/** Keys in the order of their UTF-16 code units (section 3.2.3), which is how JavaScript compares strings. */
function objectText(value: Record<string, unknown>, depth: number): string {
  const keys = Object.keys(value).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${keys.map((key) => `${stringText(key)}:${serialize(value[key], depth + 1)}`).join(",")}}`;
}
