/** Limits on models and stores. */
import { LIMITS } from "../base/index.ts";

export const ARTIFACT_LIMITS = {
  files: LIMITS.modelFiles,
  pathBytes: LIMITS.modelPathBytes,
  /** Folders inside each other. */
  depth: 64,
  /** Folders that links lead to. */
  linkedFolders: 10_000,
  ociManifestBytes: 4 * 1024 * 1024,
  ociLayers: 10_000,
  /** Manifests that refer to one model. */
  ociReferrers: 1_000,
  /** How long a store goes by the manifest it read. */
  ociIndexMilliseconds: 2_000,
  /** A whole name; what S3 and Google take. */
  blobNameBytes: 1_024,
  /** Between two slashes; what file systems take. */
  blobPartBytes: 255,
  /** The JSON header of a safetensors file, in bytes; the format's own limit. */
  safetensorsHeaderBytes: 100_000_000,
  safetensorsTensors: 100_000,
  ggufMetadataPairs: 100_000,
  ggufTensors: 100_000,
  ggufStringBytes: 16 * 1024 * 1024,
  ggufArrayItems: 10_000_000,
  ggufHeaderBytes: 256 * 1024 * 1024,
  /** Bytes read at once while hashing. */
  chunkBytes: 1024 * 1024,
} as const;
