/** SEV-SNP on Azure: the hardware vouches for the paravisor, the paravisor's TPM for the machine and this exchange. */
import type { EvidenceVerifier } from "../attestation.ts";
import { evidenceRefused, refusedRule } from "../errors.ts";
import type { SnpClaims } from "../snp/claims.ts";
import { brandSnpClaims, createSnpJudge, type SnpJudge, type SnpVerifierOptions } from "../snp/verifier.ts";
import { Rules, type Verdict } from "../verdict.ts";
import { parseAzureEvidence } from "./evidence.ts";
import type { AzureProfile } from "./profile.ts";
import { type AzureClaims, checkAzure } from "./verify.ts";

export const AZURE_SNP_KIND = "az-snp-vtpm";

/** `reportData` of the hardware is about the paravisor; what the caller bound stands in the TPM's quote. */
export interface AzureSnpClaims extends SnpClaims {
  readonly azure?: AzureClaims;
}

export interface AzureSnpVerifierOptions extends SnpVerifierOptions {
  readonly azure: AzureProfile;
}

export interface AzureSnpJudgement {
  readonly data: Uint8Array;
  readonly judge: SnpJudge;
  readonly azure: AzureProfile;
  readonly now: number;
  readonly expectedReportData?: Uint8Array;
}

/** Evidence is the JSON of the KBS protocol, which KBS names `az-snp-vtpm`. */
export function createAzureSnpVerifier(options: AzureSnpVerifierOptions): EvidenceVerifier {
  const { azure } = options;
  const judge = createSnpJudge(options);
  return {
    kind: AZURE_SNP_KIND,
    async verify(evidence, expectedReportData, now) {
      if (evidence.kind !== AZURE_SNP_KIND) throw evidenceRefused("evidence.kind");
      const verdict = verifyAzureSnp({ data: evidence.data, judge, azure, now, expectedReportData });
      return brandSnpClaims(AZURE_SNP_KIND, verdict, expectedReportData);
    },
  };
}

/** Never throws for what the evidence holds: that is a failed rule. */
export function verifyAzureSnp(request: AzureSnpJudgement): Verdict<AzureSnpClaims> {
  try {
    return judgeParts(request);
  } catch (error) {
    const rule = refusedRule(error);
    if (rule === undefined) throw error;
    const rules = new Rules();
    rules.fail(rule, "It cannot be read.");
    return { verdict: rules.verdict, rules: rules.list, advisories: [] };
  }
}

function judgeParts({ data, judge, azure: profile, now, expectedReportData }: AzureSnpJudgement) {
  const evidence = parseAzureEvidence(data);
  const { hcl, certificates } = evidence;
  if (hcl.kind !== "snp") throw evidenceRefused("azure.hcl.kind");
  const hardware = judge({ report: hcl.hardwareReport, certificates }, now, hcl.reportData);
  const rules = new Rules();
  const azure = checkAzure(rules, { evidence, profile, ...(expectedReportData ? { expectedReportData } : {}) });
  const accepted = hardware.verdict === "accepted" && rules.verdict === "accepted";
  return {
    ...hardware,
    verdict: accepted ? ("accepted" as const) : ("refused" as const),
    rules: [...hardware.rules, ...rules.list],
    ...(hardware.claims ? { claims: { ...hardware.claims, ...(azure ? { azure } : {}) } } : {}),
  };
}
