/** What the server judges evidence with: the profile of its configuration, and collateral that is read again as it changes. */
import { resolve } from "node:path";
import {
  type Anchors,
  APPRAISAL_LIMITS,
  createVerifiers,
  openCollateral,
  parseAppraisalProfile,
  type VerifierRegistry,
} from "../attestation/index.ts";
import type { Clock, Log } from "../base/index.ts";
import { readFileBounded } from "../host/index.ts";
import type { Config } from "./config.ts";

export interface EvidencePorts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly anchors?: Anchors;
}

/** Throws PROFILE_INVALID or COLLATERAL_UNREADABLE: a server that cannot judge does not start. */
export async function openVerifiers({ config, clock, log, anchors }: EvidencePorts): Promise<VerifierRegistry> {
  const { attestation_profile: file, attestation_collateral: paths } = config;
  const allowInsecureDev = config.insecure_dev_attestation;
  if (file === undefined) return createVerifiers({ allowInsecureDev });
  const profile = parseAppraisalProfile(await readFileBounded(resolve(file), APPRAISAL_LIMITS.profileBytes));
  const collateral = await openCollateral({ paths: paths.map((path) => resolve(path)), clock, log });
  return createVerifiers({ allowInsecureDev, profile, collateral, ...(anchors ? { anchors } : {}) });
}
