/** The model registry: what a publisher sends is verified with the publisher's key before policy is asked. */
import {
  type Authorizer,
  type Caller,
  type Clock,
  entityText,
  LIMITS,
  type PolicyDecision,
  parseJson,
  type Recorder,
  utf8,
} from "../base/index.ts";
import {
  BOM_PREDICATE_TYPE,
  FINDINGS_PREDICATE_TYPE,
  findingsPredicate,
  type Publication,
  type PublishedModel,
  publishedModel,
} from "../contract/index.ts";
import { type KeyEnvelope, parseEnvelope, SEAL_PREDICATE_TYPE } from "../sealing/index.ts";
import { verifyBundle, verifyStatement } from "../signing/index.ts";
import type { RecordStore } from "../store/index.ts";
import { serverError } from "./errors.ts";
import { SERVER_LIMITS } from "./limits.ts";

const TABLE = "models";

export interface ModelRegistryPorts {
  readonly store: RecordStore;
  readonly authorizer: Authorizer;
  readonly recorder: Recorder;
  readonly clock: Clock;
}

export interface ModelRegistry {
  publish(publication: Publication, caller: Caller): Promise<PublishedModel>;
  get(ref: string): Promise<PublishedModel | undefined>;
  envelope(ref: string): Promise<KeyEnvelope | undefined>;
  list(after?: string): Promise<{ models: PublishedModel[]; next?: string }>;
}
