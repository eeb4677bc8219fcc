/** A verdict as a trustworthiness vector (draft-ietf-rats-ar4si): which rules speak of which claim, and how well they did. */
import type { Rule, Verdict } from "../verdict.ts";

/** Names as in EAR (draft-ietf-rats-ear). */
export const VECTOR_CLAIMS = [
  "instance-identity",
  "configuration",
  "executables",
  "file-system",
  "hardware",
  "runtime-opaque",
  "storage-opaque",
  "sourced-data",
] as const;
export type VectorClaim = (typeof VECTOR_CLAIMS)[number];
export type TrustVector = Readonly<Partial<Record<VectorClaim, number>>>;

export type EarStatus = "none" | "affirming" | "warning" | "contraindicated";

/** Values of AR4SI: affirming 2 to 31, warning 32 to 95, contraindicated 96 to 127. */
const AFFIRMING = 2;
const APPROVED_EXECUTABLES = 3;
const UNRECOGNIZED_EXECUTABLES = 33;
const WARNING = 32;
const CONTRAINDICATED = 96;
const UNSAFE_CONFIGURATION = 36;
const WORST_HARDWARE = 97;

/** The first pattern that fits a rule says what it speaks of; everything else speaks of the hardware. */
const SUBJECTS: readonly (readonly [RegExp, VectorClaim])[] = [
  [
    /measurements?$|mr-td|mr-config|mr-owner|rtmr|\.identity$|pcr\.\d|host-data|config-id|image-id|family-id/,
    "executables",
  ],
  [
    /debug|devtools|migrat|service-td|policy|vmpl|attributes|xfam|sept-ve|secure-boot|cc-mode|cc-state|provision/,
    "configuration",
  ],
  [/report-data|binding|nonce|chip|ppid|ueid|vek|pck\.chain|\.device\.chain/, "instance-identity"],
];

/**
 * What stands for all that runs. Registers that a system extends itself, and names that whoever launched it wrote, say
 * something only under a measured beginning; the devices' programs are not the guest's.
 */
const BEGINNINGS = /^(snp\.measurement|tdx\.mr-td|sgx\.identity)$/;
const DEVICE_PROGRAMS = "nvidia.rim.measurements";

const subjectOf = (id: string): VectorClaim => SUBJECTS.find(([pattern]) => pattern.test(id))?.[1] ?? "hardware";

const FAILED: Readonly<Partial<Record<VectorClaim, number>>> = {
  hardware: WORST_HARDWARE,
  executables: CONTRAINDICATED,
  configuration: CONTRAINDICATED,
};

export function vectorOf({ rules }: Verdict<unknown>): TrustVector {
  const claims: [VectorClaim, number][] = [];
  for (const claim of ["instance-identity", "configuration", "executables", "hardware"] as const) {
    const own = rules.filter(({ id }) => subjectOf(id) === claim);
    claims.push([claim, gradeOf(claim, own)]);
  }
  return Object.fromEntries(claims);
}

function gradeOf(claim: VectorClaim, rules: readonly Rule[]): number {
  const has = (result: Rule["result"]) => rules.some((rule) => rule.result === result);
  if (has("failed")) return FAILED[claim] ?? CONTRAINDICATED;
  if (claim === "executables") return isApproved(rules) ? APPROVED_EXECUTABLES : UNRECOGNIZED_EXECUTABLES;
  if (has("passed")) return AFFIRMING;
  return claim === "configuration" ? UNSAFE_CONFIGURATION : WARNING;
}

function isApproved(rules: readonly Rule[]): boolean {
  const beginnings = rules.filter(({ id }) => BEGINNINGS.test(id));
  const telling = beginnings.length > 0 ? beginnings : rules.filter(({ id }) => id === DEVICE_PROGRAMS);
  return telling.some(({ result }) => result === "passed");
}

/** The worst of all; a refused verdict is never better than contraindicated. */
export function statusOf(vector: TrustVector, verdict: Verdict<unknown>): EarStatus {
  if (verdict.verdict !== "accepted") return "contraindicated";
  const worst = Math.max(0, ...Object.values(vector));
  if (worst >= CONTRAINDICATED) return "contraindicated";
  if (worst >= WARNING) return "warning";
  return worst >= AFFIRMING ? "affirming" : "none";
}
