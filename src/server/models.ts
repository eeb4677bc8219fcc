/** The model registry: what a publisher sends is verified with the publisher's key before policy is asked. */
import type { Authorizer, Caller, Clock, Recorder } from "../base/index.ts";
import type { Publication, PublishedModel } from "../contract/index.ts";
import type { KeyEnvelope } from "../sealing/index.ts";
import type { RecordStore } from "../store/index.ts";

const _TABLE = "models";

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
