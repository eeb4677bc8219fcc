/** Signs a model: lists it, hashes every file or shard, signs the manifest (OMS 1.0). */
import {
  artifactError,
  compareCodePoints,
  FolderContent,
  type ModelContent,
  type ModelFile,
} from "../artifact/index.ts";
import { baseError, type Progress, utf8 } from "../base/index.ts";
import { makeBundle } from "./bundle.ts";
import type { ModelSigner } from "./keys.ts";
import { SIGNING_LIMITS } from "./limits.ts";
import {
  algorithmOf,
  type HashType,
  OMS_PREDICATE_TYPE,
  type Resource,
  rootDigestOf,
  type Serialization,
  STATEMENT_TYPE,
} from "./manifest.ts";

export interface SignOptions {
  /** A folder or a single file of this machine, or content that lies elsewhere. */
  readonly root: string | ModelContent;
  readonly signer: ModelSigner;
  /** Exact relative paths that are left out; the signature file is one of them. */
  readonly ignore?: readonly string[];
  /** SHA-256 when absent. */
  readonly hashType?: HashType;
  /** Every so many bytes have a digest of their own; a file has one when absent. Empty files are then not signed. */
  readonly shardBytes?: number;
  /** Links inside the model count as what they lead to; a link is refused when absent. */
  readonly allowSymlinks?: boolean;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
  readonly threads?: number;
}

export interface SignedModel {
  readonly bundle: Uint8Array;
  readonly rootDigest: string;
  /** Resource's name → lower-case hex. */
  readonly digests: ReadonlyMap<string, string>;
  readonly files: readonly ModelFile[];
}

/**
 * Throws MODEL_EMPTY, MODEL_FILE_REFUSED, MODEL_CHANGED, BLAKE3_MISSING, and LIMIT_EXCEEDED for a signature that no
 * verifier would read.
 */
export async function signModel(options: SignOptions): Promise<SignedModel> {
  const { hashType = "sha256", shardBytes, ignore = [], allowSymlinks = false } = options;
  checkShardBytes(shardBytes);
  const content = contentOf(options.root);
  const files = await content.walk({ ignore, followLinks: allowSymlinks });
  const resources = await hashFiles(content, files, options);
  const method = shardBytes === undefined ? "files" : "shards";
  const shards = shardBytes === undefined ? {} : { shardBytes };
  const manifest = statementOf(content.name, resources, {
    method,
    hashType,
    allowSymlinks,
    ignorePaths: ignore,
    ...shards,
  });
  const bundle = await makeBundle(utf8(JSON.stringify(manifest)), options.signer);
  if (bundle.length > SIGNING_LIMITS.bundleBytes)
    throw baseError("LIMIT_EXCEEDED", { detail: `the signature is over ${SIGNING_LIMITS.bundleBytes} bytes` });
  const digests = new Map(resources.map(({ name, digest }) => [name, digest]));
  return { bundle, rootDigest: rootDigestOf(resources), digests, files };
}

export function contentOf(root: string | ModelContent): ModelContent {
  return typeof root === "string" ? new FolderContent(root) : root;
}

function checkShardBytes(shardBytes: number | undefined): void {
  if (shardBytes !== undefined && !(Number.isSafeInteger(shardBytes) && shardBytes > 0))
    throw baseError("INVALID_INPUT", { detail: "a shard is a whole number of bytes" });
}

async function hashFiles(content: ModelContent, files: readonly ModelFile[], options: SignOptions) {
  const { hashType = "sha256", shardBytes, progress, signal, threads } = options;
  const signed = shardBytes === undefined ? files : files.filter(({ bytes }) => bytes > 0);
  if (signed.length === 0) throw artifactError("MODEL_EMPTY", { detail: "a list of shards holds no empty files" });
  checkCount(signed, shardBytes);
  const parts = signed.map((file) => ({ file, ends: endsOf(file.bytes, shardBytes) }));
  const digests = await content.digest(parts, {
    hash: hashType,
    step: "sign",
    ...(progress ? { progress } : {}),
    ...(signal ? { signal } : {}),
    ...(threads === undefined ? {} : { threads }),
  });
  const algorithm = algorithmOf(hashType, shardBytes);
  const resources = parts.flatMap(({ file, ends }, index): Resource[] => {
    const own = digests[index];
    if (!own) throw artifactError("MODEL_CHANGED", { detail: file.path });
    const nameOf = (at: number) =>
      shardBytes === undefined ? file.path : `${file.path}:${ends[at - 1] ?? 0}:${ends[at] ?? 0}`;
    return own.map((digest, at) => ({ name: nameOf(at), digest, algorithm }));
  });
  return shardBytes === undefined ? resources : resources.sort((a, b) => compareCodePoints(a.name, b.name));
}

function checkCount(files: readonly ModelFile[], shardBytes: number | undefined): void {
  const count = files.reduce((sum, { bytes }) => sum + (shardBytes ? Math.ceil(bytes / shardBytes) : 1), 0);
  if (count > SIGNING_LIMITS.resources)
    throw baseError("LIMIT_EXCEEDED", {
      detail: `${count} digests, at most ${SIGNING_LIMITS.resources}`,
      hint: "modelkeep sign with larger --shards",
    });
}

function endsOf(bytes: number, shardBytes: number | undefined): number[] {
  if (shardBytes === undefined) return [bytes];
  return Array.from({ length: Math.ceil(bytes / shardBytes) }, (_, at) => Math.min(bytes, (at + 1) * shardBytes));
}

function statementOf(name: string, resources: readonly Resource[], how: Serialization) {
  const { method, hashType, allowSymlinks, ignorePaths, shardBytes } = how;
  const size = shardBytes === undefined ? {} : { shard_size: shardBytes };
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name, digest: { sha256: rootDigestOf(resources) } }],
    predicateType: OMS_PREDICATE_TYPE,
    predicate: {
      serialization: {
        method,
        hash_type: hashType,
        ...size,
        allow_symlinks: allowSymlinks,
        ignore_paths: [...ignorePaths],
      },
      resources,
    },
  };
}
