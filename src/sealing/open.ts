/** Opens a sealed model: signature, seal statement, header tag, then every segment's tag and hash before a byte is handed out. */
import { createHash } from "node:crypto";
import { type BlobStore, checkModelPath, type OpenBlob } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { equalBytes, type Progress, type Random, toHex } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import { type Trust, type VerifiedManifest, verifyBundle, verifyStatement } from "../signing/index.ts";
import { parseEnvelope, unwrapPackageKey } from "./envelope.ts";
import { sealingError } from "./errors.ts";
import { FLOE_1_MIB, FLOE_HEADER_BYTES, Floe } from "./floe.ts";
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
  const blob = await options.store.open(layout.blobName(options.prefix, file.blob));
  try {
    const floe = await openHeader(options, packageId, file, blob);
    const segments = new SegmentReader(blob, file, floe, leaves);
    try {
      await writeSegments(options, file, segments, onProgress);
    } finally {
      await segments.stop();
      floe.wipe();
    }
  } finally {
    await blob.close();
  }
}

async function writeSegments(
  { into, signal }: OpenOptions,
  file: layout.SealedFile,
  segments: SegmentReader,
  onProgress: (done: number) => void,
): Promise<void> {
  const out = await into.open(openedPath(file), file.bytes);
  try {
    for (let index = 0; index < segments.count; index++) {
      signal?.throwIfAborted();
      const plain = await segments.next();
      await out.write(plain).finally(() => plain.fill(0));
      onProgress(Math.min(file.bytes, (index + 1) * SEALING_LIMITS.segmentBytes));
    }
  } finally {
    await out.close();
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

/** Segments of one file in order; some are read, decrypted and hashed ahead while the caller writes. */
class SegmentReader {
  readonly count: number;
  readonly #blob: OpenBlob;
  readonly #file: layout.SealedFile;
  readonly #floe: Floe;
  readonly #leaves: Uint8Array;
  readonly #ahead: Promise<Uint8Array>[] = [];
  /** Ciphertext is read into the same few buffers again and again. */
  readonly #buffers: Uint8Array[] = [];
  #started = 0;

  constructor(blob: OpenBlob, file: layout.SealedFile, floe: Floe, leaves: Uint8Array) {
    this.count = layout.segmentCount(file.bytes);
    this.#blob = blob;
    this.#file = file;
    this.#floe = floe;
    this.#leaves = leaves;
  }

  /** The caller wipes it. */
  async next(): Promise<Uint8Array> {
    while (this.#ahead.length < SEALING_LIMITS.segmentsAhead && this.#started < this.count) {
      const segment = this.#open(this.#started++);
      segment.catch(() => undefined);
      this.#ahead.push(segment);
    }
    const plain = await this.#ahead.shift();
    if (!plain) throw new RangeError("there is no further segment");
    return plain;
  }

  /** Waits for what is under way and wipes it. */
  async stop(): Promise<void> {
    for (const segment of await Promise.allSettled(this.#ahead.splice(0)))
      if (segment.status === "fulfilled") segment.value.fill(0);
  }

  async #open(index: number): Promise<Uint8Array> {
    const plain = await this.#decrypt(index);
    const { LEAF_BYTES } = layout;
    if (equalBytes(await layout.leafOf(plain), this.#leaves.subarray(index * LEAF_BYTES, (index + 1) * LEAF_BYTES)))
      return plain;
    plain.fill(0);
    throw sealingError("SEALED_TAMPERED", { detail: `${this.#file.path}: segment ${index} is not what was signed` });
  }

  async #decrypt(index: number): Promise<Uint8Array> {
    const { bytes, path } = this.#file;
    const { encryptedSegmentBytes } = FLOE_1_MIB;
    const isLast = index === this.count - 1;
    const start = FLOE_HEADER_BYTES + index * encryptedSegmentBytes;
    const end = isLast ? layout.sealedBytes(bytes) : start + encryptedSegmentBytes;
    const buffer = this.#buffers.pop() ?? new Uint8Array(Math.min(encryptedSegmentBytes, end - start));
    const sealed = await this.#blob.read(start, end, buffer);
    if (sealed.length !== end - start)
      throw sealingError("SEALED_TAMPERED", { detail: `${path}: segment ${index} is cut` });
    const plain = this.#openNamed(index, isLast, sealed);
    this.#buffers.push(buffer);
    return plain;
  }

  /** FLOE knows no names of files; who reads the error wants one. */
  #openNamed(index: number, isLast: boolean, sealed: Uint8Array): Uint8Array {
    try {
      return this.#floe.openSegment(index, isLast, sealed);
    } catch (cause) {
      throw sealingError("SEALED_TAMPERED", { detail: `${this.#file.path}: segment ${index} was changed`, cause });
    }
  }
}
