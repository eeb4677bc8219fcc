/** Opens a sealed model: signature, seal statement, header tag, then every segment's tag and hash before a byte is handed out. */
import { createHash } from "node:crypto";
import { type BlobStore, checkModelPath } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { equalBytes, type Progress, type Random, toHex } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import { type Trust, type VerifiedManifest, verifyBundle, verifyStatement } from "../signing/index.ts";
import { parseEnvelope, unwrapPackageKey } from "./envelope.ts";
import { sealingError } from "./errors.ts";
import { FLOE_1_MIB, FLOE_HEADER_BYTES, Floe, SEGMENT_OVERHEAD_BYTES } from "./floe.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

/** Where plaintext goes; the opener never calls it with bytes that were not checked. */
export interface ModelSink {
  /** `path` is relative and checked; `bytes` is the file's whole length. */
  open(path: string, bytes: number): Promise<{ write(chunk: Uint8Array): Promise<void>; close(): Promise<void> }>;
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
  /** Stops between two segments. */
  readonly signal?: AbortSignal;
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
}

/** Keyless: checks the signature and the seal statement from the store. */
export async function verifySealed({ store, prefix, trust }: SealedSource): Promise<VerifiedSeal> {
  const bundle = await store.readAll(layout.blobName(prefix, layout.NAMES.bundle), SEALING_LIMITS.bundleBytes);
  const seal = await store.readAll(layout.blobName(prefix, layout.NAMES.seal), SEALING_LIMITS.statementBytes);
  return verifySeal(verifyBundle(bundle, trust), seal, trust);
}

/** The seal must be the same signer's word about the same root, and list exactly the signed files. */
export function verifySeal(manifest: VerifiedManifest, seal: Uint8Array | string, trust: Trust): VerifiedSeal {
  const sameSigner = { publicKeys: trust.publicKeys.filter(({ keyId }) => keyId === manifest.keyId) };
  const statement = verifyStatement(seal, {
    trust: sameSigner,
    predicateType: layout.SEAL_PREDICATE_TYPE,
    rootDigest: manifest.rootDigest,
  });
  const parsed = layout.sealPredicate.safeParse(statement.predicate);
  if (!parsed.success)
    throw sealingError("SEALED_INVALID", { detail: `seal statement: ${parsed.error.issues[0]?.path.join(".") ?? ""}` });
  const { files, package_id: packageId } = parsed.data;
  const wholeFiles = manifest.serialization.method === "files" && manifest.serialization.hashType === "sha256";
  const same =
    wholeFiles &&
    files.length === manifest.resources.length &&
    files.every((file, index) => isSigned(file, manifest, index));
  if (!same) throw sealingError("SEALED_TAMPERED", { detail: "the seal does not list the signed files" });
  return { manifest, packageId, files } as unknown as VerifiedSeal;
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
  const total = seal.files.reduce((sum, file) => sum + file.bytes, 0);
  let before = 0;
  for (const file of seal.files) {
    const reached = before;
    await openFile(options, seal.packageId, file, (done) =>
      options.progress?.({ step: "decrypt", done: reached + done, total, unit: "bytes" }),
    );
    before += file.bytes;
  }
  return seal;
}

/** The place of a file in the opened model; a model that is one file has no name inside. */
function openedPath(file: layout.SealedFile): string {
  return file.path === "." ? "model" : checkModelPath(file.path);
}

/**
 * The whole file's digest is not computed again: the segments' hashes are the same signer's word about the same root,
 * and the sealer held both against each other.
 */
async function openFile(
  options: OpenOptions,
  packageId: string,
  file: layout.SealedFile,
  onProgress: (done: number) => void,
): Promise<void> {
  const leaves = await readLeaves(options, file);
  const floe = await openHeader(options, packageId, file);
  try {
    const out = await options.into.open(openedPath(file), file.bytes);
    try {
      const segments = layout.segmentCount(file.bytes);
      for (let index = 0; index < segments; index++) {
        options.signal?.throwIfAborted();
        const plain = await openSegment(options, file, floe, index, segments, leaves);
        await out.write(plain).finally(() => plain.fill(0));
        onProgress(Math.min(file.bytes, (index + 1) * SEALING_LIMITS.segmentBytes));
      }
    } finally {
      await out.close();
    }
  } finally {
    floe.wipe();
  }
}

async function readLeaves({ store, prefix }: SealedSource, file: layout.SealedFile): Promise<Uint8Array> {
  const length = layout.segmentCount(file.bytes) * layout.LEAF_BYTES;
  const leaves = await store.read(layout.blobName(prefix, file.leaves), 0, length + 1);
  const digest = createHash("sha256").update(leaves).digest("hex");
  if (leaves.length !== length || digest !== file.leaves_sha256)
    throw sealingError("SEALED_TAMPERED", { detail: `${file.path}: the list of segment hashes` });
  return leaves;
}

async function openHeader(options: OpenOptions, packageId: string, file: layout.SealedFile): Promise<Floe> {
  const name = layout.blobName(options.prefix, file.blob);
  const expectedBytes = layout.sealedBytes(file.bytes);
  const stat = await options.store.stat(name);
  if (stat && stat.bytes !== expectedBytes)
    throw sealingError("SEALED_TAMPERED", { detail: `${file.path}: ${stat.bytes} bytes, expected ${expectedBytes}` });
  const header = await options.store.read(name, 0, FLOE_HEADER_BYTES);
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

async function openSegment(
  options: SealedSource,
  file: layout.SealedFile,
  floe: Floe,
  index: number,
  segments: number,
  leaves: Uint8Array,
): Promise<Uint8Array> {
  const isLast = index === segments - 1;
  const start = FLOE_HEADER_BYTES + index * FLOE_1_MIB.encryptedSegmentBytes;
  const lastBytes = file.bytes - (segments - 1) * SEALING_LIMITS.segmentBytes + SEGMENT_OVERHEAD_BYTES;
  const length = isLast ? lastBytes : FLOE_1_MIB.encryptedSegmentBytes;
  const sealed = await options.store.read(layout.blobName(options.prefix, file.blob), start, start + length);
  if (sealed.length !== length)
    throw sealingError("SEALED_TAMPERED", { detail: `${file.path}: segment ${index} is cut` });
  const plain = floe.openSegment(index, isLast, sealed);
  const leaf = createHash("sha256").update(plain).digest();
  if (!equalBytes(leaf, leaves.subarray(index * layout.LEAF_BYTES, (index + 1) * layout.LEAF_BYTES))) {
    plain.fill(0);
    throw sealingError("SEALED_TAMPERED", { detail: `${file.path}: segment ${index} is not what was signed` });
  }
  return plain;
}
