/** What OCSP says of the certificates of a path: fresh answers of the right responder, a hold told apart from a revocation. */
import {
  type Certificate,
  checkOcsp,
  nameToText,
  type OcspResponse,
  type OcspResult,
  parseOcspResponse,
  type VerifiedPath,
} from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import type { Rules, Verdict } from "../verdict.ts";
import type { RevocationClaim } from "./claims.ts";
import { NVIDIA_LIMITS } from "./limits.ts";
import type { NvidiaProfile } from "./profile.ts";

export type OcspAnswers = readonly OcspResponse[];

/** DER is read; what was read before passes. Throws EVIDENCE_REFUSED `nvidia.ocsp.format` for what is no answer. */
export function parseOcspAnswers(answers: readonly (Uint8Array | OcspResponse)[]): OcspAnswers {
  if (answers.length > NVIDIA_LIMITS.ocspResponses) throw evidenceRefused("nvidia.ocsp.format");
  return answers.map((answer) => {
    if (!(answer instanceof Uint8Array)) return answer;
    try {
      if (answer.length > NVIDIA_LIMITS.ocspBytes) throw new Error(`${answer.length} bytes`);
      return parseOcspResponse(answer);
    } catch (error) {
      throw evidenceRefused("nvidia.ocsp.format", error);
    }
  });
}

export interface RevocationFacts {
  readonly status: RevocationClaim;
  readonly collateral?: NonNullable<Verdict<unknown>["collateral"]>;
}

export interface RevocationInput {
  readonly rule: string;
  /** Leaf first, anchor last; undefined when there is none. */
  readonly path: VerifiedPath | undefined;
  /** 1: nobody answers for the leaf, which the device makes itself; an answer counts all the same. */
  readonly firstRequired: 0 | 1;
  readonly answers: OcspAnswers;
  readonly profile: NvidiaProfile;
  readonly now: number;
}

type Answer = Exclude<OcspResult, { readonly status: "refused" }>;

/** The anchor is pinned: nobody answers for it. */
export function checkRevocation(rules: Rules, input: RevocationInput): RevocationFacts {
  const { rule, path, firstRequired, profile } = input;
  if (!path) {
    rules.skip(rule, "without a chain there is nothing to ask about");
    return { status: "unchecked" };
  }
  const found = path.slice(0, -1).map((certificate, i) => findAnswer(certificate, path[i + 1], input));
  const used = found.filter((answer) => answer !== undefined);
  const missing = path.slice(firstRequired, -1).filter((_, i) => found[i + firstRequired] === undefined);
  const status = worstOf(used, missing.length);
  const facts = { status, ...(used.length > 0 ? { collateral: datesOf(used, profile) } : {}) };
  const held = used.some(({ status: one }) => one === "revoked") && !profile.allow_certificate_hold;
  const enough = missing.length === 0 || !profile.require_ocsp;
  if (missing.length > 0 && enough && !held && status !== "revoked") {
    rules.skip(rule, "there is no fresh answer about every certificate, which the profile accepts");
    return facts;
  }
  rules.check(rule, status !== "revoked" && !held && enough, {
    passed: status === "good" ? "no certificate is revoked" : "a certificate is on hold, which the profile accepts",
    failed: FAILED[enough || held ? status : "unchecked"],
    have:
      missing.length > 0
        ? missing
            .map(({ subject }) => nameToText(subject))
            .join("; ")
            .slice(0, 300)
        : status,
    need: "good",
  });
  return facts;
}

const FAILED: Readonly<Record<RevocationClaim, string>> = {
  good: "",
  hold: "a certificate is on hold; allow_certificate_hold accepts it",
  revoked: "a certificate is revoked",
  unchecked: "there is no fresh answer about a certificate: fetch OCSP answers",
};

/** A revocation is for ever; otherwise the newest answer counts, and "unknown" is none. */
function findAnswer(certificate: Certificate, issuer: Certificate | undefined, input: RevocationInput) {
  if (!issuer) return undefined;
  const maxAgeMs = input.profile.ocsp_max_age_hours * 3_600_000;
  const about = input.answers.filter(({ singles }) =>
    singles.some(({ id }) => id.serialNumber === certificate.serialNumber),
  );
  const ask = (response: OcspResponse, now: number) => checkOcsp({ response, certificate, issuer, now, maxAgeMs });
  const results = about.map((response) => ask(response, input.now));
  const late = about
    .filter((_, i) => isLate(results[i]))
    .map((response) => ask(response, response.producedAt))
    .filter(isRevoked);
  const answers = [...results, ...late].filter(isAnswer);
  return answers.find(isRevoked) ?? answers.sort((a, b) => b.single.thisUpdate - a.single.thisUpdate)[0];
}

function isLate(result: OcspResult | undefined): boolean {
  return result?.status === "refused" && result.rule !== "not-yet-valid";
}

function isAnswer(result: OcspResult): result is Answer {
  return result.status === "good" || result.status === "revoked";
}

function isRevoked(result: OcspResult): result is Extract<Answer, { status: "revoked" }> {
  return result.status === "revoked" && !result.hold;
}

function worstOf(answers: readonly Answer[], missing: number): RevocationClaim {
  if (answers.some(isRevoked)) return "revoked";
  if (answers.some(({ status }) => status === "revoked")) return "hold";
  return missing > 0 ? "unchecked" : "good";
}

function datesOf(answers: readonly Answer[], profile: NvidiaProfile): NonNullable<RevocationFacts["collateral"]> {
  const maxAgeMs = profile.ocsp_max_age_hours * 3_600_000;
  const ends = answers.map(({ single }) => Math.min(single.nextUpdate ?? Infinity, single.thisUpdate + maxAgeMs));
  return {
    issuedAt: Math.min(...answers.map(({ single }) => single.thisUpdate)),
    nextUpdateAt: Math.min(...ends),
  };
}
