/** Floor 4: a model on disk or in a store. */
export * from "./blob-store.ts";
export type { DigestOptions, FileParts, HashName, ModelContent, PartDigests } from "./content.ts";
export * from "./digest.ts";
export { artifactError } from "./errors.ts";
export { FolderContent } from "./folder-content.ts";
export * from "./formats/index.ts";
export { ARTIFACT_LIMITS } from "./limits.ts";
export { OciContent } from "./oci-content.ts";
export { StoreContent } from "./store-content.ts";
export { openBlobStore, storeSettings } from "./stores/open-store.ts";
export * from "./walk.ts";
