/** What the server judges evidence with: the profile of its configuration, and what is read again as it changes. */
import { resolve } from "node:path";
import {
  type Anchors,
  APPRAISAL_LIMITS,
  type AppraisalProfile,
  appraiseMachine,
  type CollateralReader,
  createNvidiaCache,
  createVerifiers,
  DcapCache,
  type MachineRequest,
  type MachineResult,
  openCollateral,
  parseAppraisalProfile,
  type VerifierRegistry,
} from "../attestation/index.ts";
import type { Clock, Log } from "../base/index.ts";
import { readFileBounded } from "../host/index.ts";
import type { RecordStore } from "../store/index.ts";
import type { Config } from "./config.ts";
import { openReferences, type ReferenceReader } from "./references.ts";

export interface EvidencePorts {
  readonly config: Config;
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly anchors?: Anchors;
}

/** Judges for others; the name is that of the profile. */
export type EvidenceJudge = (
  request: Omit<MachineRequest, "profile" | "collateral" | "now">,
) => Promise<{ readonly result: MachineResult; readonly policyId: string }>;

export interface EvidenceDesk {
  /** For key releases. */
  readonly verifiers: VerifierRegistry;
  /** For whoever asks; undefined without a profile. */
  readonly judge: EvidenceJudge | undefined;
}

/** Throws PROFILE_INVALID, COLLATERAL_UNREADABLE, REFERENCE_INVALID or REFERENCE_ROLLBACK: it does not start then. */
export async function openEvidence(ports: EvidencePorts): Promise<EvidenceDesk> {
  const { config, clock, log, anchors } = ports;
  const { attestation_profile: file, attestation_collateral: paths } = config;
  const allowInsecureDev = config.insecure_dev_attestation;
  if (file === undefined) return { verifiers: createVerifiers({ allowInsecureDev }), judge: undefined };
  const own = parseAppraisalProfile(await readFileBounded(resolve(file), APPRAISAL_LIMITS.profileBytes));
  const collateral = await openCollateral({ paths: paths.map((path) => resolve(path)), clock, log });
  const profile = await openProfile(ports, own);
  const pins = anchors ? { anchors } : {};
  const make = (current: AppraisalProfile) =>
    createVerifiers({ allowInsecureDev, profile: current, collateral, ...pins });
  return {
    verifiers: followingVerifiers(profile, make, make(own)),
    judge: judgeOf({ profile, collateral, clock, ...pins }),
  };
}

async function openProfile(
  { config, store, clock, log }: EvidencePorts,
  own: AppraisalProfile,
): Promise<ReferenceReader> {
  const { attestation_references: paths, attestation_reference_keys: keyPaths } = config;
  if (paths.length === 0) return async () => own;
  return openReferences({ paths, keyPaths, store, clock, log }, own);
}

function followingVerifiers(
  profile: ReferenceReader,
  make: (profile: AppraisalProfile) => VerifierRegistry,
  first: VerifierRegistry,
): VerifierRegistry {
  let last: { readonly profile: AppraisalProfile; readonly verifiers: VerifierRegistry } | undefined;
  return {
    kinds: first.kinds,
    async verify(evidence, binding, now) {
      const current = await profile();
      if (last?.profile !== current) last = { profile: current, verifiers: make(current) };
      return last.verifiers.verify(evidence, binding, now);
    },
  };
}

interface JudgePorts {
  readonly profile: ReferenceReader;
  readonly collateral: CollateralReader;
  readonly clock: Clock;
  readonly anchors?: Anchors;
}

function judgeOf({ profile, collateral, clock, anchors }: JudgePorts): EvidenceJudge {
  const caches = { dcap: new DcapCache(), nvidia: createNvidiaCache() };
  return async (request) => {
    const current = await profile();
    const known = { profile: current, collateral: await collateral(), now: clock.now(), caches };
    const result = await appraiseMachine({ ...request, ...known, ...(anchors ? { anchors } : {}) });
    return { result, policyId: current.name };
  };
}
