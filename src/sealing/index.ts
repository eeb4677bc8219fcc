/** Floor 6: sealed models: payload, keys, and the order in which they are checked. */
export { type CopyOptions, type CopyResult, copySealed } from "./copy.ts";
export { type KeyEnvelope, parseEnvelope, unwrapPackageKey } from "./envelope.ts";
export { sealingError } from "./errors.ts";
export type { Replaced, SealedPlace } from "./finished-target.ts";
export { FLOE_1_MIB, FLOE_HEADER_BYTES, Floe, type FloeParameters, SEGMENT_OVERHEAD_BYTES } from "./floe.ts";
export { openIntoFolder } from "./folder-output.ts";
export { type HubOutput, type HubPlace, openIntoHubCache } from "./hub-output.ts";
export {
  LEAF_HASHES,
  type LeafHashName,
  NAMES as SEALED_NAMES,
  SEAL_PREDICATE_TYPE,
  type SealedFile,
} from "./layout.ts";
export { SEALING_LIMITS } from "./limits.ts";
export {
  addRecipients,
  inspectSealed,
  readEnvelope,
  removeRecipients,
  rewrapSealed,
  type SealedInfo,
  shredSealed,
} from "./manage.ts";
export {
  type ModelSink,
  type OpenOptions,
  type OpenWithKmsOptions,
  openSealedPackage,
  openWithKms,
  type SealedSource,
  type VerifiedSeal,
  verifySeal,
  verifySealed,
} from "./open.ts";
export type { SinkFile } from "./open-file.ts";
export { type JoinPartsOptions, joinParts } from "./parts/join.ts";
export { type SealedPart, type SealPartOptions, sealPart } from "./parts/seal-part.ts";
export { type SealedPackage, type SealOptions, sealModel } from "./seal.ts";
