/** What the key release promises, and what it needs of others. */

import type { VerifierRegistry } from "../attestation/index.ts";
import type { Authorizer, Caller, Clock, Log, Random, Recorder } from "../base/index.ts";
import type { ReleaseReply, ReleaseRequest } from "../contract/index.ts";
import type { RecordStore } from "../store/index.ts";

/** What the server knows of a published model, as policy sees it. */
export interface ReleasableModel {
  /** `name@version`. */
  readonly ref: string;
  readonly packageId: string;
  /** Hex. */
  readonly rootDigest: string;
  /** Hex. */
  readonly signerKeyId: string;
  /** Names that a signer policy has for those who signed; none without one. */
  readonly signers?: readonly string[];
  readonly scanVerdict: string;
  readonly vulnerabilities: {
    readonly critical: number;
    readonly high: number;
    readonly medium: number;
    readonly low: number;
    readonly malware: number;
    readonly unknown?: number;
    /** Known to be exploited. */
    readonly kev?: number;
    /** `none`, or the worst severity. */
    readonly worst?: string;
    /** Since they were matched, in whole hours. */
    readonly ageHours?: number;
    /** Weaknesses that do not count: the publisher says, with a reason, that they do no harm or are fixed. */
    readonly notAffected?: number;
    /** Weaknesses that do not count: somebody accepted them until a day to come. */
    readonly waived?: number;
  };
  /** Of the signed bill of materials. */
  readonly bom?: {
    /** Hex. */
    readonly keyId: string;
    /** In percent. */
    readonly score: number;
    readonly licenses: readonly string[];
    readonly customCode: boolean;
  };
  readonly advisoriesMatched?: boolean;
}

export interface ReleasePorts<Model extends ReleasableModel = ReleasableModel> {
  readonly store: RecordStore;
  /** The policy of this moment. */
  readonly authorizer: () => Authorizer;
  readonly verifiers: VerifierRegistry;
  /** The published model of a `name@version`, or undefined. */
  readonly findModel: (ref: string) => Promise<Model | undefined>;
  /** The 32-byte package key from the model's envelope by the KMS; this module wipes it. */
  readonly unwrapKey: (model: Model) => Promise<Uint8Array>;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface Challenge {
  /** 32 bytes, base64url. */
  readonly nonce: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export interface ReleaseService {
  /** Fails with CHALLENGE_LIMIT when the caller has too many open. */
  challenge(caller: Caller): Promise<Challenge>;
  /**
   * In this order: nonce (used up by the first try), evidence, model, policy, KMS, seal, record.
   * Fails with KEY_NOT_GRANTED and the rule, or KEY_UNAVAILABLE; a release that cannot be recorded does not happen.
   */
  release(request: ReleaseRequest, caller: Caller): Promise<ReleaseReply>;
}
