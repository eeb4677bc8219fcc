/** TDX on Azure: the hardware vouches for the paravisor, the paravisor's TPM for the machine and this exchange. */
import { equalBytes } from "../../base/index.ts";
import type { EvidenceVerifier } from "../attestation.ts";
import { type AzureEvidence, parseAzureEvidence } from "../azure/evidence.ts";
import type { AzureProfile } from "../azure/profile.ts";
import { type AzureClaims, checkAzure } from "../azure/verify.ts";
import { attempt } from "../dcap/certificates.ts";
import { brandDcapClaims, type DcapJudgeOptions, judgeQuote } from "../dcap/judge.ts";
import { evidenceRefused } from "../errors.ts";
import { Rules, type Verdict } from "../verdict.ts";
import type { TdxClaims } from "./claims.ts";
import type { TdxProfile } from "./profile.ts";
import { measureTdx } from "./verifier.ts";

export const AZURE_TDX_KIND = "az-tdx-vtpm";

/** REPORTDATA in REPORTMACSTRUCT at the head of a TDREPORT (Intel TDX module specification). */
const TD_REPORT_DATA = { offset: 128, length: 64 } as const;

/** `reportData` of the hardware is about the paravisor; what the caller bound stands in the TPM's quote. */
export interface AzureTdxClaims extends TdxClaims {
  readonly azure?: AzureClaims;
}

export interface AzureTdxOptions extends DcapJudgeOptions<TdxProfile> {
  readonly azure: AzureProfile;
}

/** Evidence is the JSON of the KBS protocol, which KBS names `az-tdx-vtpm`. */
export function createAzureTdxVerifier(options: AzureTdxOptions): EvidenceVerifier {
  return {
    kind: AZURE_TDX_KIND,
    async verify(evidence, expectedReportData, now) {
      if (evidence.kind !== AZURE_TDX_KIND) throw evidenceRefused("evidence.kind");
      const verdict = await verifyAzureTdx(options, evidence.data, now, expectedReportData);
      return brandDcapClaims(AZURE_TDX_KIND, verdict, expectedReportData, measureTdx);
    },
  };
}

/** Never throws for what the evidence holds: that is a failed rule. */
export async function verifyAzureTdx(
  options: AzureTdxOptions,
  data: Uint8Array,
  now: number,
  expectedReportData?: Uint8Array,
): Promise<Verdict<AzureTdxClaims>> {
  const rules = new Rules();
  const evidence = attempt(rules, "azure.evidence.format", () => parseAzureEvidence(data));
  if (!evidence?.tdQuote || !checkHardware(rules, evidence)) {
    if (evidence && !evidence.tdQuote) rules.fail("azure.td-quote", "The evidence has no quote of the domain.");
    return { verdict: "refused", rules: rules.list, advisories: [] };
  }
  const hardware = await judgeQuote(options, { quote: evidence.tdQuote }, now, evidence.hcl.reportData);
  const request = { evidence, profile: options.azure, ...(expectedReportData ? { expectedReportData } : {}) };
  const azure = checkAzure(rules, request);
  const accepted = hardware.verdict === "accepted" && rules.verdict === "accepted";
  return {
    ...hardware,
    verdict: accepted ? "accepted" : "refused",
    rules: [...hardware.rules, ...rules.list],
    ...(hardware.claims ? { claims: { ...hardware.claims, ...(azure ? { azure } : {}) } } : {}),
  };
}

/** The TDREPORT is not signed; that it names the same data as the quote only tells that the parts belong together. */
function checkHardware(rules: Rules, { hcl }: AzureEvidence): boolean {
  const { offset, length } = TD_REPORT_DATA;
  const bound = hcl.kind === "tdx" && equalBytes(hcl.hardwareReport.subarray(offset, offset + length), hcl.reportData);
  return rules.check("azure.hcl.report-data", bound, {
    passed: "The paravisor's report is bound to its runtime data.",
    failed: "The paravisor's report is of another TEE, or bound to other runtime data.",
    have: hcl.kind,
    need: "tdx",
  });
}
