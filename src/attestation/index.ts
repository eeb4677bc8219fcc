/** Floor 5: evidence of an environment, collected and judged. */
export { type AppraisalCaches, type AppraisalRequest, appraise, profileForInspection } from "./appraisal.ts";
export { plain, type VerdictJson, verdictToJson } from "./appraisal-json.ts";
export { APPRAISAL_LIMITS } from "./appraisal-limits.ts";
export { appraiseMachine, isEvidence, type MachineRequest, type MachineResult } from "./appraisal-machine.ts";
export {
  type AppraisalProfile,
  type AppraisalProfileInput,
  appraisalProfile,
  parseAppraisalProfile,
  TEE_KINDS,
  type TeeKind,
} from "./appraisal-profile.ts";
export {
  isGoodAt,
  openReferenceValues,
  parseReferenceFile,
  type ReferenceValues,
  signReferenceValues,
  withReferenceValues,
} from "./appraisal-reference.ts";
export type { Anchors, CollateralReader } from "./appraisal-verifiers.ts";
export type {
  AttestedClaims,
  AttestedDevices,
  DeviceCollector,
  Evidence,
  EvidenceCollector,
  EvidenceVerifier,
} from "./attestation.ts";
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
export { type CollateralBundle, makeBundle, openBundle } from "./collateral/bundle.ts";
export { fetchCollateral, type Services } from "./collateral/fetch.ts";
export { createFetcher, type Fetcher } from "./collateral/fetcher.ts";
export { loadCollateral, readCollateralFiles } from "./collateral/files.ts";
export { openCollateral } from "./collateral/open.ts";
export { type CollateralSet, type NamedFile, readCollateralSet } from "./collateral/set.ts";
export { type AzurePorts, createAzureCollector } from "./collect/azure.ts";
export {
  createDeviceCollector,
  DEVICE_CLASSES,
  type DeviceClass,
  type DeviceCollectorOptions,
} from "./collect/devices.ts";
export { createGramineCollector, findGramine } from "./collect/gramine.ts";
export { createNvattestCollector } from "./collect/nvattest.ts";
export { createTsmCollector, findTsm, type TsmPorts } from "./collect/tsm.ts";
export { DcapCache } from "./dcap/cache.ts";
export { INTEL_SGX_ROOT_SHA256 } from "./dcap/certificates.ts";
export { type Collateral, collateralFromPcs, type PcsFiles, parseCollateral } from "./dcap/collateral.ts";
export { parseQuote, type Quote, type Tee } from "./dcap/evidence.ts";
export { type DcapEvidence, parseDcapEvidence } from "./dcap/evidence-json.ts";
export {
  type CollateralRequest,
  type CollateralSource,
  collateralRequest,
  type DcapJudgeOptions,
  judgeQuote,
} from "./dcap/judge.ts";
export { type PcsRequest, type PcsUrls, pcsUrls } from "./dcap/pcs.ts";
export type { SgxReport, TdReport } from "./dcap/reports.ts";
export type { TcbStatus } from "./dcap/tcb.ts";
export { type VerifyQuoteInput, verifyQuote } from "./dcap/verify.ts";
export { createEarKeys, type EarKeys } from "./ear/keys.ts";
export { EAR_LIMITS } from "./ear/limits.ts";
export {
  EAR_PROFILES,
  type EarInput,
  type EarProfile,
  type EarSigner,
  earKeySet,
  makeEar,
  type PublicEarKey,
  publicJwk,
  type VerifiedEar,
  verifyEar,
} from "./ear/token.ts";
export { attestationError } from "./errors.ts";
export { parseCcel } from "./eventlog/ccel.ts";
export { parseDstackEventLog } from "./eventlog/dstack.ts";
export type { MeasuredEvent } from "./eventlog/event.ts";
export { type RuntimeRegisters, replayEventLog } from "./eventlog/replay.ts";
export { type Explanation, explainVerdict, explanationLines } from "./explain.ts";
export { createInsecureDevCollector } from "./insecure-dev/collector.ts";
export { INSECURE_DEV_KIND } from "./insecure-dev/format.ts";
export { type LaunchDescription, launchDescription, measureLaunch, parseLaunch } from "./insecure-dev/launch.ts";
export { createInsecureDevVerifier } from "./insecure-dev/verifier.ts";
export { ATTESTATION_LIMITS } from "./limits.ts";
export { createNvidiaCache, type NvidiaCache } from "./nvidia/cache.ts";
export type { FwidClaim, GpuClaims, RevocationClaim } from "./nvidia/claims.ts";
export {
  NVIDIA_NRAS_KEYS_URL,
  NVIDIA_OCSP_URL,
  type OcspQuestion,
  ocspQuestions,
  parseRimAnswer,
  rimUrl,
} from "./nvidia/collateral.ts";
export { type CompositeClaims, type CompositeInput, verifyComposite } from "./nvidia/composite.ts";
export {
  type GpuEvidence,
  type GuestCcState,
  makeGpuEvidence,
  NVIDIA_KIND,
  type NvidiaEvidence,
  parseGpuEvidence,
} from "./nvidia/evidence.ts";
export { type NrasClaims, type NrasInput, verifyNrasToken } from "./nvidia/nras.ts";
export { type NrasKey, parseNrasKeys } from "./nvidia/nras-keys.ts";
export { type NvidiaProfile, nvidiaProfile } from "./nvidia/profile.ts";
export { parseRim, type Rim, verifyRim } from "./nvidia/rim.ts";
export {
  createNvidiaJudge,
  createNvidiaVerifier,
  type NvidiaJudge,
  type NvidiaVerifierOptions,
} from "./nvidia/verifier.ts";
export { type GpuInput, verifyGpu } from "./nvidia/verify.ts";
export { rimIds } from "./nvidia/versions.ts";
export {
  createRegistry,
  createVerifiers,
  type EvidenceBinding,
  type VerifierOptions,
  type VerifierRegistry,
} from "./registry.ts";
export type { SgxClaims } from "./sgx/claims.ts";
export { type SgxProfile, type SgxProfileInput, sgxProfile } from "./sgx/profile.ts";
export { createSgxVerifier, SGX_KIND } from "./sgx/verifier.ts";
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
export {
  AZURE_TDX_KIND,
  type AzureTdxClaims,
  type AzureTdxOptions,
  createAzureTdxVerifier,
  verifyAzureTdx,
} from "./tdx/azure.ts";
export type { TdxClaims } from "./tdx/claims.ts";
export { type TdxProfile, type TdxProfileInput, tdxProfile } from "./tdx/profile.ts";
export { createTdxVerifier, measureTdx, TDX_KIND } from "./tdx/verifier.ts";
export type { Rule, RuleResult, Verdict } from "./verdict.ts";
