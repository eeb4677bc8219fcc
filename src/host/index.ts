/** Floor 2: the only door to Node and the machine. */
export type { StreamHash } from "./blake3.ts";
export * from "./clock.ts";
export * from "./errors.ts";
export * from "./ffi.ts";
export * from "./files.ts";
export * from "./guarded.ts";
export { HASH_LIMITS } from "./hash-batches.ts";
export { type FileRun, type HashName, PartHasher, type RunDigests } from "./hash-run.ts";
export * from "./hash-runs.ts";
export * from "./process.ts";
export * from "./scratch.ts";
export * from "./sqlite.ts";
export * from "./terminal.ts";
