/** Stands behind the interface of every TEE: an enclave's quote in, branded claims out. */
import type { EvidenceVerifier } from "../attestation.ts";
import { parseDcapEvidence } from "../dcap/evidence-json.ts";
import { brandDcapClaims, type DcapJudgeOptions, judgeQuote } from "../dcap/judge.ts";
import { evidenceRefused } from "../errors.ts";
import type { SgxProfile } from "./profile.ts";

export const SGX_KIND = "sgx";

/** Evidence is a quote, or JSON with the quote and collateral. The measurement is MRENCLAVE. */
export function createSgxVerifier(options: DcapJudgeOptions<SgxProfile>): EvidenceVerifier {
  return {
    kind: SGX_KIND,
    async verify(evidence, expectedReportData, now) {
      if (evidence.kind !== SGX_KIND) throw evidenceRefused("evidence.kind");
      const verdict = await judgeQuote(options, parseDcapEvidence(evidence.data), now, expectedReportData);
      return brandDcapClaims(SGX_KIND, verdict, expectedReportData, ({ mrEnclave }) => mrEnclave);
    },
  };
}
