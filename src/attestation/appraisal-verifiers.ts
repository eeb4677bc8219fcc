/** The verifiers that a profile asks for, with whatever collateral there is at the time of each judgement. */
import type { AppraisalProfile } from "./appraisal-profile.ts";
import type { EvidenceVerifier } from "./attestation.ts";
import type { AzureProfile } from "./azure/profile.ts";
import { AZURE_SNP_KIND, verifyAzureSnp } from "./azure/snp.ts";
import { findDcapCollateral } from "./collateral/dcap.ts";
import { type CollateralSet, readCollateralSet } from "./collateral/set.ts";
import { snpJudgeOf } from "./collateral/snp.ts";
import { DcapCache } from "./dcap/cache.ts";
import type { CollateralRequest } from "./dcap/judge.ts";
import type { NvidiaVerifierOptions } from "./nvidia/verifier.ts";
import { createSgxVerifier } from "./sgx/verifier.ts";
import type { SnpAnchors } from "./snp/products.ts";
import type { SnpProfile } from "./snp/profile.ts";
import { brandSnpClaims, parseSnpEvidence, SNP_KIND } from "./snp/verifier.ts";
import { createAzureTdxVerifier } from "./tdx/azure.ts";
import { createTdxVerifier } from "./tdx/verifier.ts";

/** Gives the same object as long as nothing changed. */
export type CollateralReader = () => Promise<CollateralSet>;

/** Other pins than the vendors', for tests with roots of their own. */
export interface Anchors {
  readonly snp?: SnpAnchors;
  /** SHA-256 of root certificates, hex. */
  readonly intel?: readonly string[];
  readonly nvidia?: NonNullable<NvidiaVerifierOptions["anchors"]>;
}

type Verify = EvidenceVerifier["verify"];

/**
 * One for each TEE that the profile has a section for. Devices have none: their reports prove nothing about the machine
 * around them, so that they alone never open a key; see `createDeviceGate`.
 */
export function appraisingVerifiers(
  { snp, tdx, sgx, azure }: AppraisalProfile,
  collateral: CollateralReader,
  anchors: Anchors = {},
): EvidenceVerifier[] {
  const cache = new DcapCache();
  const source = async (wanted: CollateralRequest) => findDcapCollateral(await collateral(), wanted);
  const intel = { cache, collateral: source, ...(anchors.intel ? { anchors: anchors.intel } : {}) };
  return [
    ...(snp ? [{ kind: SNP_KIND, verify: verifyGuest(snp, collateral, anchors.snp) }] : []),
    ...(tdx ? [createTdxVerifier({ profile: tdx, ...intel })] : []),
    ...(sgx ? [createSgxVerifier({ profile: sgx, ...intel })] : []),
    ...(snp && azure ? [{ kind: AZURE_SNP_KIND, verify: verifyAzureGuest(snp, azure, collateral, anchors.snp) }] : []),
    ...(tdx && azure ? [createAzureTdxVerifier({ profile: tdx, azure, ...intel })] : []),
  ];
}

const NOTHING = readCollateralSet([]);
export const NO_COLLATERAL: CollateralReader = async () => NOTHING;

function verifyGuest(profile: SnpProfile, collateral: CollateralReader, anchors?: SnpAnchors): Verify {
  return async ({ data }, expected, now) => {
    const judge = snpJudgeOf(await collateral(), profile, anchors);
    return brandSnpClaims(SNP_KIND, judge(parseSnpEvidence(data), now, expected), expected);
  };
}

function verifyAzureGuest(
  profile: SnpProfile,
  azure: AzureProfile,
  collateral: CollateralReader,
  anchors?: SnpAnchors,
): Verify {
  return async ({ data }, expected, now) => {
    const judge = snpJudgeOf(await collateral(), profile, anchors);
    const verdict = verifyAzureSnp({ data, judge, azure, now, expectedReportData: expected });
    return brandSnpClaims(AZURE_SNP_KIND, verdict, expected);
  };
}
