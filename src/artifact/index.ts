/** Floor 4: a model on disk or in a store. */
export * from "./blob-store.ts";
export * from "./digest.ts";
export { artifactError } from "./errors.ts";
export * from "./formats/index.ts";
export { ARTIFACT_LIMITS } from "./limits.ts";
export { openBlobStore } from "./open-store.ts";
export * from "./walk.ts";
