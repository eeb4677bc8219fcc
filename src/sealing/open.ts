/** Opens a sealed model: signature, seal statement, header tag, then every segment's tag and hash before a byte is handed out. */
import { createHash } from "node:crypto";
import { type BlobStore, checkModelPath, type OpenBlob } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { type Progress, type Random, toHex } from "../base/index.ts";
import { type GuardedBytes, hasLeafHash, hostError, type LeafHash, SealThreads } from "../host/index.ts";
import { type Trust, type VerifiedManifest, verifyBundle, verifyStatement } from "../signing/index.ts";
import { parseEnvelope, unwrapPackageKey } from "./envelope.ts";
import { sealingError } from "./errors.ts";
import { FLOE_1_MIB, FLOE_HEADER_BYTES, Floe } from "./floe.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";
import { openSegments, type SinkFile } from "./open-file.ts";

/** Where plaintext goes; the opener never calls it with bytes that were not checked, nor lets a thread write such. */
export interface ModelSink {
  /** `path` is relative and checked; `bytes` is the file's whole length. */
  open(path: string, bytes: number): Promise<SinkFile>;
}

export interface SealedSource {
  readonly store: BlobStore;
  readonly prefix: string;
  readonly trust: Trust;
}

export interface OpenOptions extends SealedSource {
  /** The caller wipes it. */
  readonly packageKey: GuardedBytes;
  readonly into: ModelSink;
  readonly random: Random;
  /** The root digest and package that the caller was told of; another one is refused. */
  readonly expected?: { readonly rootDigest: string; readonly packageId: string };
  readonly progress?: Progress;
  /** Stops between two batches of segments; what was under way is finished, what was in memory is wiped. */
  readonly signal?: AbortSignal;
  /** As many as the machine has cores when absent. */
  readonly threads?: number;
}

/** As `OpenOptions`, for who asks the KMS itself. */
export interface OpenWithKmsOptions extends Omit<OpenOptions, "packageKey" | "expected"> {
  readonly wrappers: readonly KeyWrapper[];
  /** The root digest that the caller was told of; another one is refused. */
  readonly rootDigest?: string;
}

declare const verified: unique symbol;

/** Only `verifySealed` makes these: the signed statement about a sealed model, consistent with its signature. */
export interface VerifiedSeal {
  readonly [verified]: true;
  readonly manifest: VerifiedManifest;
  readonly packageId: string;
  readonly files: readonly layout.SealedFile[];
  readonly leafHash: layout.LeafHashName;
}

/** Keyless: checks the signature and the seal statement from the store. */
export async function verifySealed({ store, prefix, trust }: SealedSource): Promise<VerifiedSeal> {
  const bundle = await store.readAll(layout.blobName(prefix, layout.NAMES.bundle), SEALING_LIMITS.bundleBytes);
  const seal = await store.readAll(layout.blobName(prefix, layout.NAMES.seal), SEALING_LIMITS.statementBytes);
  return verifySeal(verifyBundle(bundle, trust), seal, trust);
}

/** The seal must be the same signer's word about the same root, and list exactly the signed files. */
export function verifySeal(manifest: VerifiedManifest, seal: Uint8Array | string, trust: Trust): VerifiedSeal {
  const sameSigner = { publicKeys: sealerOf(manifest, trust) };
  const statement = verifyStatement(seal, {
    trust: sameSigner,
    predicateType: layout.SEAL_PREDICATE_TYPE,
    rootDigest: manifest.rootDigest,
  });
  const parsed = layout.sealPredicate.safeParse(statement.predicate);
  if (!parsed.success)
    throw sealingError("SEALED_INVALID", { detail: `seal statement: ${parsed.error.issues[0]?.path.join(".") ?? ""}` });
  const { files, package_id: packageId, leaf_hash: leafHash } = parsed.data;
  const wholeFiles = manifest.serialization.method === "files" && manifest.serialization.hashType === "sha256";
  const same =
    wholeFiles &&
    files.length === manifest.resources.length &&
    files.every((file, index) => isSigned(file, manifest, index));
  if (!same) throw sealingError("SEALED_TAMPERED", { detail: "the seal does not list the signed files" });
  return { manifest, packageId, files, leafHash } as unknown as VerifiedSeal;
}

/** A bare key must still be trusted; behind a certificate or an identity stands the key that it vouched for. */
function sealerOf({ signer, signerKey }: VerifiedManifest, { publicKeys }: Trust): Trust["publicKeys"] {
  return signer.method === "key" ? publicKeys.filter(({ keyId }) => keyId === signerKey.keyId) : [signerKey];
}

function isSigned(file: layout.SealedFile, manifest: VerifiedManifest, index: number): boolean {
  const resource = manifest.resources[index];
  const places = file.blob === layout.fileName(index) && file.leaves === layout.leavesName(index);
  return places && resource?.name === file.path && resource.digest === file.sha256;
}

/**
 * Throws before a byte of a bad segment is handed out; what was handed out before is then to be thrown away by the
 * caller.
 */
export async function openSealedPackage(options: OpenOptions): Promise<VerifiedSeal> {
  const seal = await verifySealed(options);
  const { expected } = options;
  if (expected && (seal.manifest.rootDigest !== expected.rootDigest || seal.packageId !== expected.packageId))
    throw anotherModel();
  return openVerified(seal, options);
}

/** Signature, then the envelope that belongs to it, then one call of the KMS, then the files. */
export async function openWithKms(options: OpenWithKmsOptions): Promise<VerifiedSeal> {
  const seal = await verifySealed(options);
  if (options.rootDigest !== undefined && options.rootDigest !== seal.manifest.rootDigest) throw anotherModel();
  const name = layout.blobName(options.prefix, layout.NAMES.envelope);
  const envelope = parseEnvelope(await options.store.readAll(name, SEALING_LIMITS.envelopeBytes));
  if (envelope.package_id !== seal.packageId || envelope.root_digest !== seal.manifest.rootDigest)
    throw sealingError("ENVELOPE_INVALID", { detail: "it is the envelope of another sealed model" });
  using packageKey = await unwrapPackageKey(envelope, options.wrappers);
  return await openVerified(seal, { ...options, packageKey });
}

function anotherModel() {
  return sealingError("SEALED_TAMPERED", { detail: "the store holds another model than the one that was asked for" });
}

async function openVerified(seal: VerifiedSeal, options: OpenOptions): Promise<VerifiedSeal> {
  const leafHash = usableLeafHash(seal);
  const total = seal.files.reduce((sum, file) => sum + file.bytes, 0);
  const threads = await startOpening(total, options.threads);
  try {
    let before = 0;
    for (const file of seal.files) {
      const reached = before;
      const told = (done: number) =>
        options.progress?.({ step: "decrypt", done: reached + done, total, unit: "bytes" });
      await openFile({ options, seal, threads, leafHash }, file, told);
      before += file.bytes;
    }
    return seal;
  } finally {
    await threads.close();
  }
}

export function startOpening(workBytes: number, threads?: number): Promise<SealThreads> {
  const slotBytes = SEALING_LIMITS.batchSegments * FLOE_1_MIB.encryptedSegmentBytes;
  return SealThreads.start({ workBytes, slotBytes, ...(threads === undefined ? {} : { threads }) });
}

/** The faster one of those in the seal that this machine has. Throws BLAKE3_MISSING. */
export function usableLeafHash({ leafHash }: Pick<VerifiedSeal, "leafHash">): LeafHash {
  const usable = layout.leafHashesOf(leafHash).filter(hasLeafHash).at(-1);
  if (!usable) throw hostError("BLAKE3_MISSING");
  return usable;
}

/** The place of a file in the opened model; a model that is one file has no name inside. */
function openedPath(file: layout.SealedFile): string {
  return file.path === "." ? "model" : checkModelPath(file.path);
}

interface OpenWork {
  readonly options: OpenOptions;
  readonly seal: VerifiedSeal;
  readonly threads: SealThreads;
  readonly leafHash: LeafHash;
}

/**
 * The whole file's digest is not computed again: the segments' hashes are the same signer's word about the same root,
 * and the sealer held both against each other.
 */
async function openFile(work: OpenWork, file: layout.SealedFile, told: (done: number) => void): Promise<void> {
  const { options, seal, threads, leafHash } = work;
  const leaves = await readLeaves(work, file);
  const blob = await options.store.open(layout.blobName(options.prefix, file.blob));
  try {
    using floe = await openHeader(options, seal.packageId, file, blob);
    const out = await options.into.open(openedPath(file), file.bytes);
    try {
      await openSegments(threads, { file, floe, blob, out, leafHash, leaves }, { signal: options.signal, told });
    } finally {
      await out.close();
    }
  } finally {
    await blob.close();
  }
}

/** Of the hash that is used. */
async function readLeaves({ options, seal, leafHash }: OpenWork, file: layout.SealedFile): Promise<Uint8Array> {
  const hashes = layout.leafHashesOf(seal.leafHash);
  const length = layout.leavesBytes(file.bytes, hashes);
  const blob = await options.store.read(layout.blobName(options.prefix, file.leaves), 0, length + 1);
  const digest = createHash("sha256").update(blob).digest("hex");
  if (blob.length !== length || digest !== file.leaves_sha256)
    throw sealingError("SEALED_TAMPERED", { detail: `${file.path}: the list of segment hashes` });
  const at = (hashes.indexOf(leafHash) * length) / hashes.length;
  return blob.subarray(at, at + length / hashes.length);
}

async function openHeader(
  options: OpenOptions,
  packageId: string,
  file: layout.SealedFile,
  blob: OpenBlob,
): Promise<Floe> {
  const expectedBytes = layout.sealedBytes(file.bytes);
  if (blob.bytes !== expectedBytes)
    throw sealingError("SEALED_TAMPERED", { detail: `${file.path}: ${blob.bytes} bytes, expected ${expectedBytes}` });
  const header = await blob.read(0, FLOE_HEADER_BYTES);
  const key = layout.fileKey(options.packageKey, packageId, file.path);
  try {
    const floe = Floe.decrypt(key, layout.fileAad(packageId, file.path), FLOE_1_MIB, header, options.random);
    if (toHex(floe.headerTag) === file.header_tag) return floe;
    floe.wipe();
    throw sealingError("SEALED_TAMPERED", { detail: `${file.path}: the header tag is not the signed one` });
  } finally {
    key.fill(0);
  }
}
