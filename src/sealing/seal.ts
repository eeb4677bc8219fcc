/** Seals a signed model: encrypts every file, hashes every segment, wraps the key, signs what was made. Resumable. */
import { createHash } from "node:crypto";
import { type BlobStore, checkModelPath, modelFilePath, readChunks, walkModel } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { type Progress, type Random, toHex, utf8 } from "../base/index.ts";
import { GuardedBytes } from "../host/index.ts";
import { type ModelSigner, signingError, signStatement, type VerifiedManifest } from "../signing/index.ts";
import { envelopeBytes, type KeyEnvelope, makeEnvelope, parseEnvelope, unwrapPackageKey } from "./envelope.ts";
import { sealingError } from "./errors.ts";
import { FLOE_1_MIB, Floe } from "./floe.ts";
import { deleteJournal, isThere, readJournal, writeJournal } from "./journal.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

export interface SealOptions {
  readonly root: string;
  readonly manifest: VerifiedManifest;
  /** The OMS bundle that `manifest` came from. */
  readonly bundle: Uint8Array;
  readonly signer: ModelSigner;
  readonly wrappers: readonly KeyWrapper[];
  readonly store: BlobStore;
  readonly prefix: string;
  readonly random: Random;
  readonly progress?: Progress;
  /** Stops between two segments; what was finished is gone on with by the next run. */
  readonly signal?: AbortSignal;
}

export interface SealedPackage {
  readonly packageId: string;
  readonly rootDigest: string;
  readonly envelope: KeyEnvelope;
  /** The signed seal statement, a DSSE envelope as JSON text. */
  readonly seal: string;
  readonly files: readonly layout.SealedFile[];
  /** Files that an interrupted run had finished before. */
  readonly resumedFiles: number;
}

/**
 * Throws SEALED_EXISTS when a sealed model is there, SEALER_NOT_SIGNER or SEAL_UNSUPPORTED when the result could never
 * be opened, MODEL_NOT_AS_SIGNED or MODEL_CHANGED when the files are not what was signed.
 */
export async function sealModel(options: SealOptions): Promise<SealedPackage> {
  const { store, prefix, manifest } = options;
  checkSealable(options);
  if (await store.stat(layout.blobName(prefix, layout.NAMES.seal)))
    throw sealingError("SEALED_EXISTS", { detail: `${store.uri} ${prefix}`.trimEnd() });
  await store.discardUnfinished(layout.blobName(prefix, "files/"));
  const { packageKey, envelope } = await startOrResume(options);
  try {
    const { files, resumedFiles } = await sealFiles(options, packageKey, envelope.package_id);
    const seal = await finish(options, envelope.package_id, files);
    return { packageId: envelope.package_id, rootDigest: manifest.rootDigest, envelope, seal, files, resumedFiles };
  } finally {
    packageKey.wipe();
  }
}

/** What opening will ask for is asked before the work is done. */
function checkSealable({ manifest, signer }: SealOptions): void {
  if (signer.keyId !== manifest.keyId) throw sealingError("SEALER_NOT_SIGNER");
  const { method, hashType } = manifest.serialization;
  if (method !== "files" || hashType !== "sha256")
    throw sealingError("SEAL_UNSUPPORTED", { detail: `method ${method}, ${hashType}; it takes files and sha256` });
  if (manifest.resources.length > SEALING_LIMITS.files)
    throw sealingError("SEAL_UNSUPPORTED", { detail: `over ${SEALING_LIMITS.files} files` });
  for (const { name } of manifest.resources) if (name !== ".") checkModelPath(name);
}

/** The seal is written last: without it there is no sealed model, and the next run goes on. */
async function finish(options: SealOptions, packageId: string, files: readonly layout.SealedFile[]): Promise<string> {
  const { store, prefix, manifest, signer, bundle } = options;
  for (const file of files)
    if (!(await isThere(options, file))) throw sealingError("SEALED_TAMPERED", { detail: `${file.path} in the store` });
  const predicate: layout.SealPredicate = {
    format: layout.SEALED_FORMAT,
    package_id: packageId,
    payload: "FLOE-AES-256-GCM-HKDF-SHA-384",
    segment_bytes: SEALING_LIMITS.segmentBytes,
    leaf_hash: "sha256",
    files: [...files],
  };
  const { rootDigest, name } = manifest;
  const seal = await signStatement({
    predicateType: layout.SEAL_PREDICATE_TYPE,
    predicate,
    rootDigest,
    name,
    signer,
  });
  await store.write(layout.blobName(prefix, layout.NAMES.bundle), [bundle]);
  await store.write(layout.blobName(prefix, layout.NAMES.seal), [utf8(seal)]);
  for (const index of files.keys()) await deleteJournal(options, index);
  return seal;
}

/** The envelope is written first, so that an interrupted run finds its key again through the KMS. */
async function startOrResume(options: SealOptions): Promise<{ packageKey: GuardedBytes; envelope: KeyEnvelope }> {
  const { store, prefix, manifest, wrappers, random } = options;
  const name = layout.blobName(prefix, layout.NAMES.envelope);
  const old = (await store.stat(name))
    ? parseEnvelope(await store.readAll(name, SEALING_LIMITS.envelopeBytes))
    : undefined;
  if (old && old.root_digest !== manifest.rootDigest)
    throw sealingError("SEALED_EXISTS", { detail: `${store.uri} ${prefix} holds another, unfinished model` });
  const packageKey = old ? await unwrapPackageKey(old, wrappers) : GuardedBytes.take(random.bytes(32));
  try {
    const packageId = old?.package_id ?? toHex(random.bytes(16));
    const envelope = await makeEnvelope(packageKey, packageId, manifest.rootDigest, wrappers);
    await store.write(name, [envelopeBytes(envelope)]);
    return { packageKey, envelope };
  } catch (error) {
    packageKey.wipe();
    throw error;
  }
}

async function sealFiles(options: SealOptions, packageKey: GuardedBytes, packageId: string) {
  const { root, manifest, store, prefix } = options;
  const sizes = new Map((await walkSigned(root, manifest)).map(({ path, bytes }) => [path, bytes]));
  const place = { store, prefix, packageKey };
  const files: layout.SealedFile[] = [];
  let resumedFiles = 0;
  for (const [index, { name: path, digest: sha256 }] of manifest.resources.entries()) {
    const bytes = sizes.get(path);
    if (bytes === undefined) throw signingError("MODEL_NOT_AS_SIGNED", { detail: `${path} is signed but not there` });
    const before = await readJournal(place, index, { path, sha256 });
    if (before) resumedFiles++;
    const file = before ?? (await new FileSealer(options, packageKey, packageId).seal({ index, path, sha256, bytes }));
    if (!before) await writeJournal(place, index, file);
    files.push(file);
  }
  return { files, resumedFiles };
}

/** A file that is there and not signed would silently stay behind: refused. */
async function walkSigned(root: string, manifest: VerifiedManifest) {
  const signed = new Set(manifest.resources.map(({ name }) => name));
  const signature = signed.has(layout.NAMES.bundle) ? [] : [layout.NAMES.bundle];
  const files = await walkModel(root, { ignore: [...manifest.serialization.ignorePaths, ...signature] });
  const unsigned = files.find(({ path }) => !signed.has(path));
  if (unsigned) throw signingError("MODEL_NOT_AS_SIGNED", { detail: `${unsigned.path} is there but not signed` });
  return files;
}

interface FileToSeal {
  readonly index: number;
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
}

class FileSealer {
  readonly #options: SealOptions;
  readonly #packageKey: GuardedBytes;
  readonly #packageId: string;
  readonly #whole = createHash("sha256");
  readonly #leaves: Promise<Uint8Array>[] = [];

  constructor(options: SealOptions, packageKey: GuardedBytes, packageId: string) {
    this.#options = options;
    this.#packageKey = packageKey;
    this.#packageId = packageId;
  }

  async seal(file: FileToSeal): Promise<layout.SealedFile> {
    const { store, prefix, random } = this.#options;
    const [blob, leaves] = [layout.fileName(file.index), layout.leavesName(file.index)];
    const key = layout.fileKey(this.#packageKey, this.#packageId, file.path);
    const floe = Floe.encrypt(key, layout.fileAad(this.#packageId, file.path), FLOE_1_MIB, random);
    key.fill(0);
    try {
      await store.write(layout.blobName(prefix, blob), this.#encrypt(file, floe));
    } finally {
      floe.wipe();
    }
    const list = await this.#leafList();
    await store.write(layout.blobName(prefix, leaves), [list]);
    return {
      path: file.path,
      bytes: file.bytes,
      blob,
      leaves,
      header_tag: toHex(floe.headerTag),
      leaves_sha256: createHash("sha256").update(list).digest("hex"),
      sha256: file.sha256,
    };
  }

  /** Header, then segments. A file that is not what was signed ends in an error before its blob has a name. */
  async *#encrypt(file: FileToSeal, floe: Floe): AsyncGenerator<Uint8Array> {
    yield floe.header;
    const last = layout.segmentCount(file.bytes) - 1;
    let index = 0;
    const path = modelFilePath(this.#options.root, file.path);
    for await (const plain of readChunks(path, SEALING_LIMITS.segmentBytes, file.bytes)) {
      await this.#add(file, plain);
      yield* floe.sealSegment(index, index === last, plain);
      plain.fill(0);
      index++;
    }
    if (index === 0) {
      await this.#add(file, new Uint8Array(0));
      yield* floe.sealSegment(0, true, new Uint8Array(0));
    }
    if (this.#whole.digest("hex") !== file.sha256) throw signingError("MODEL_NOT_AS_SIGNED", { detail: file.path });
  }

  async #leafList(): Promise<Uint8Array> {
    const list = new Uint8Array(this.#leaves.length * layout.LEAF_BYTES);
    for (const [index, leaf] of this.#leaves.entries()) list.set(await leaf, index * layout.LEAF_BYTES);
    return list;
  }

  async #add(file: FileToSeal, plain: Uint8Array): Promise<void> {
    this.#options.signal?.throwIfAborted();
    this.#leaves.push(layout.leafOf(plain));
    this.#whole.update(plain);
    await this.#leaves.at(-SEALING_LIMITS.segmentsAhead);
    const done = this.#leaves.length * SEALING_LIMITS.segmentBytes;
    const step = `seal ${file.path}`;
    this.#options.progress?.({ step, done: Math.min(done, file.bytes), total: file.bytes, unit: "bytes" });
  }
}
