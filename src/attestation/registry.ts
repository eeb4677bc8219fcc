/** The verifiers that a server has, by kind of evidence. */
import type { AppraisalProfile } from "./appraisal-profile.ts";
import { appraisingVerifiers, type CollateralReader } from "./appraisal-verifiers.ts";
import type { AttestedClaims, Evidence, EvidenceVerifier } from "./attestation.ts";
import { evidenceRefused } from "./errors.ts";
import { createInsecureDevVerifier } from "./insecure-dev/verifier.ts";
import { ATTESTATION_LIMITS } from "./limits.ts";

export interface VerifierRegistry {
  /** Kinds of evidence that can be judged, sorted. */
  readonly kinds: readonly string[];
  /** Throws EVIDENCE_REFUSED with the failed rule; `now` in milliseconds. */
  verify(evidence: Evidence, expectedReportData: Uint8Array, now: number): Promise<AttestedClaims>;
}

export interface VerifierOptions {
  /** Set only where somebody asked for it in so many words. */
  readonly allowInsecureDev?: boolean;
  /** Which TEEs are accepted, and in which state; absent: none. */
  readonly profile?: AppraisalProfile;
  /** What vendors sign, asked for with every verification; absent: what machines bring along is all there is. */
  readonly collateral?: CollateralReader;
}

export function createVerifiers(options: VerifierOptions = {}): VerifierRegistry {
  const { profile, collateral } = options;
  return createRegistry([
    ...(options.allowInsecureDev === true ? [createInsecureDevVerifier({ allowInsecureDev: true })] : []),
    ...(profile ? appraisingVerifiers(profile, collateral) : []),
  ]);
}

export function createRegistry(verifiers: readonly EvidenceVerifier[]): VerifierRegistry {
  const byKind = new Map(verifiers.map((verifier) => [verifier.kind, verifier]));
  if (byKind.size !== verifiers.length) throw new Error("two verifiers of one kind of evidence");
  return {
    kinds: [...byKind.keys()].sort(),
    async verify(evidence, expectedReportData, now) {
      if (expectedReportData.length !== ATTESTATION_LIMITS.reportDataBytes)
        throw evidenceRefused("evidence.report-data");
      if (evidence.data.length > ATTESTATION_LIMITS.evidenceBytes) throw evidenceRefused("evidence.size");
      const verifier = byKind.get(evidence.kind);
      if (!verifier) throw evidenceRefused("evidence.kind");
      return verifier.verify(evidence, expectedReportData, now);
    },
  };
}
