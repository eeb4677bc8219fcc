/** Floor 5: evidence of an environment, collected and judged. */
export type { AttestedClaims, Evidence, EvidenceCollector, EvidenceVerifier } from "./attestation.ts";
export { type AzureEvidence, parseAzureEvidence } from "./azure/evidence.ts";
export { type HclReport, parseHclReport } from "./azure/hcl.ts";
export { type AzureProfile, azureProfile } from "./azure/profile.ts";
export {
  AZURE_SNP_KIND,
  type AzureSnpClaims,
  type AzureSnpVerifierOptions,
  createAzureSnpVerifier,
  verifyAzureSnp,
} from "./azure/snp.ts";
export { tpmQualifyingData } from "./azure/tpm-quote.ts";
export { attestationError } from "./errors.ts";
export { createInsecureDevCollector } from "./insecure-dev/collector.ts";
export { INSECURE_DEV_KIND } from "./insecure-dev/format.ts";
export { type LaunchDescription, launchDescription, measureLaunch, parseLaunch } from "./insecure-dev/launch.ts";
export { createInsecureDevVerifier } from "./insecure-dev/verifier.ts";
export { ATTESTATION_LIMITS } from "./limits.ts";
export { createRegistry, createVerifiers, type VerifierOptions, type VerifierRegistry } from "./registry.ts";
export { type CertificateKind, parseCertificateTable, type TableEntry } from "./snp/certificate-table.ts";
export type { SnpClaims } from "./snp/claims.ts";
export { parseSnpReport, type SnpReport } from "./snp/evidence.ts";
export { kdsChainUrl, kdsCrlUrl, kdsUrl } from "./snp/kds.ts";
export type { SnpProduct, SnpTcb } from "./snp/products.ts";
export { type SnpProfile, snpProfile } from "./snp/profile.ts";
export {
  createSnpJudge,
  createSnpVerifier,
  parseSnpEvidence,
  SNP_KIND,
  type SnpEvidence,
  type SnpJudge,
  type SnpVerifierOptions,
} from "./snp/verifier.ts";
export { type SnpRequest, verifySnp } from "./snp/verify.ts";
export type { Rule, RuleResult, Verdict } from "./verdict.ts";
