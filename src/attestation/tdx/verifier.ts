/** Stands behind the interface of every TEE: a trust domain's quote in, branded claims out. */
import { createHash } from "node:crypto";
import type { EvidenceVerifier } from "../attestation.ts";
import { parseDcapEvidence } from "../dcap/evidence-json.ts";
import { brandDcapClaims, type DcapJudgeOptions, judgeQuote } from "../dcap/judge.ts";
import { evidenceRefused } from "../errors.ts";
import type { TdxClaims } from "./claims.ts";
import type { TdxProfile } from "./profile.ts";

export const TDX_KIND = "tdx";

/** Evidence is a quote, or JSON with the quote, collateral and an event log (see `parseDcapEvidence`). */
export function createTdxVerifier(options: DcapJudgeOptions<TdxProfile>): EvidenceVerifier {
  return {
    kind: TDX_KIND,
    async verify(evidence, expectedReportData, now) {
      if (evidence.kind !== TDX_KIND) throw evidenceRefused("evidence.kind");
      const verdict = await judgeQuote(options, parseDcapEvidence(evidence.data), now, expectedReportData);
      return brandDcapClaims(TDX_KIND, verdict, expectedReportData, measureTdx);
    },
  };
}

/** One value for what a domain runs: SHA-384 over MRTD and RTMR0 to RTMR3, as lower-case hex. */
export function measureTdx({ mrTd, rtmrs }: Pick<TdxClaims, "mrTd" | "rtmrs">): string {
  const hash = createHash("sha384");
  for (const register of [mrTd, ...rtmrs]) hash.update(register, "hex");
  return hash.digest("hex");
}
