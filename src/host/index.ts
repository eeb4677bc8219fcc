/** Floor 2: the only door to Node and the machine. */
export { AEAD_NAMES, type AeadChoice, type AeadEngine, type AeadName, chooseAead } from "./aead.ts";
export { cryptoAead } from "./aead-crypto.ts";
export type { StreamHash } from "./blake3.ts";
export * from "./clock.ts";
export * from "./errors.ts";
export * from "./ffi.ts";
export * from "./files.ts";
export * from "./guarded.ts";
export * from "./hardening.ts";
export { HASH_LIMITS } from "./hash-batches.ts";
export { type FileRun, type HashName, PartHasher, type RunDigests } from "./hash-run.ts";
export * from "./hash-runs.ts";
export { type GuardedMemoryLevel, guardedMemoryLevel, type MemoryLevel } from "./locked-pages.ts";
export * from "./process.ts";
export * from "./scratch.ts";
export {
  type FilePlace,
  hashLeaf,
  hasLeafHash,
  LEAF_BYTES,
  type LeafHash,
  openRecord,
  RECORD_BODY_AT,
  RECORD_OVERHEAD_BYTES,
  type RecordFailure,
  type RecordPlan,
  type RecordResult,
  type SealPlan,
  sealRecord,
} from "./seal-run.ts";
export * from "./seal-threads.ts";
export { type Sha256Stream, Sha256Streams } from "./sha256-streams.ts";
export * from "./sqlite.ts";
export * from "./terminal.ts";
export { threadProgram, threadsHaveLoaded } from "./thread.ts";
export { answerThreadTask } from "./thread-answer.ts";
export { runThreadTask, type ThreadTask } from "./thread-task.ts";
