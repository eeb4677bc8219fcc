/** Seals a signed model: encrypts every file, hashes every segment, wraps the key, signs what was made. Resumable. */
import { type BlobStore, checkModelPath, type ModelFile, walkModel } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { ModelkeepError, type Progress, type Random, toHex, utf8 } from "../base/index.ts";
import { GuardedBytes, hasLeafHash, hostError, SealThreads, Sha256Streams } from "../host/index.ts";
import { type ModelSigner, signingError, signStatement, type VerifiedManifest } from "../signing/index.ts";
import { runWithin } from "./budget.ts";
import { envelopeBytes, type KeyEnvelope, makeEnvelope, parseEnvelope, unwrapPackageKey } from "./envelope.ts";
import { sealingError } from "./errors.ts";
import { FLOE_1_MIB } from "./floe.ts";
import { deleteJournal, isThere, readJournal, writeJournal } from "./journal.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";
import { type FileToSeal, sealFile } from "./seal-file.ts";

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
  /** BLAKE3 where its package is there, else SHA-256, when absent; readers without the package need SHA-256. */
  readonly leafHash?: layout.LeafHashName;
  /** As many as the machine has cores when absent. */
  readonly threads?: number;
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
 * be opened, BLAKE3_MISSING, MODEL_NOT_AS_SIGNED or MODEL_CHANGED when the files are not what was signed.
 */
export async function sealModel(options: SealOptions): Promise<SealedPackage> {
  const { store, prefix, manifest } = options;
  const leafHash = chooseLeafHash(options.leafHash);
  checkSealable(manifest, options.signer);
  await checkUnsealed(options);
  const { packageKey, envelope } = await startOrResume(options);
  try {
    await store.discardUnfinished(layout.blobName(prefix, "files/"));
    const { files, resumedFiles } = await sealFiles(options, packageKey, envelope.package_id, leafHash);
    const seal = await finish(options, envelope.package_id, files, leafHash);
    return { packageId: envelope.package_id, rootDigest: manifest.rootDigest, envelope, seal, files, resumedFiles };
  } finally {
    packageKey.wipe();
  }
}

/** Throws BLAKE3_MISSING. */
export function chooseLeafHash(wanted: layout.LeafHashName | undefined): layout.LeafHashName {
  const leafHash = wanted ?? (hasLeafHash("blake3") ? "blake3" : "sha256");
  if (!layout.leafHashesOf(leafHash).every(hasLeafHash)) throw hostError("BLAKE3_MISSING");
  return leafHash;
}

export async function checkUnsealed({ store, prefix }: Pick<SealOptions, "store" | "prefix">): Promise<void> {
  if (await store.stat(layout.blobName(prefix, layout.NAMES.seal)))
    throw sealingError("SEALED_EXISTS", { detail: `${store.uri} ${prefix}`.trimEnd() });
}

/** What opening will ask for is asked before the work is done; who seals a part alone signs nothing. */
export function checkSealable(manifest: VerifiedManifest, signer?: ModelSigner): void {
  if (signer && signer.keyId !== manifest.keyId) throw sealingError("SEALER_NOT_SIGNER");
  const { method, hashType } = manifest.serialization;
  if (method !== "files" || hashType !== "sha256")
    throw sealingError("SEAL_UNSUPPORTED", { detail: `method ${method}, ${hashType}; it takes files and sha256` });
  if (manifest.resources.length > SEALING_LIMITS.files)
    throw sealingError("SEAL_UNSUPPORTED", { detail: `over ${SEALING_LIMITS.files} files` });
  for (const { name } of manifest.resources) if (name !== ".") checkModelPath(name);
}

/** The seal is written last: without it there is no sealed model, and the next run goes on. */
export async function finish(
  options: Omit<SealOptions, "root" | "wrappers">,
  packageId: string,
  files: readonly layout.SealedFile[],
  leafHash: layout.LeafHashName,
): Promise<string> {
  const { store, prefix, manifest, signer, bundle } = options;
  for (const file of files)
    if (!(await isThere(options, file))) throw sealingError("SEALED_TAMPERED", { detail: `${file.path} in the store` });
  const predicate: layout.SealPredicate = {
    format: layout.SEALED_FORMAT,
    package_id: packageId,
    payload: "FLOE-AES-256-GCM-HKDF-SHA-384",
    segment_bytes: SEALING_LIMITS.segmentBytes,
    leaf_hash: leafHash,
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
  await deleteBelow(options, layout.PARTS_FOLDER);
  return seal;
}

export async function deleteBelow(at: Pick<SealOptions, "store" | "prefix">, folder: string): Promise<void> {
  for await (const name of at.store.list(layout.blobName(at.prefix, folder))) await at.store.delete(name);
}

/** The envelope is written first, so that an interrupted run finds its key again through the KMS. */
async function startOrResume(options: SealOptions): Promise<{ packageKey: GuardedBytes; envelope: KeyEnvelope }> {
  const { store, prefix, manifest, wrappers, random } = options;
  const name = layout.blobName(prefix, layout.NAMES.envelope);
  const old = await readBegun(options);
  const packageKey = old ? await unwrapPackageKey(old, wrappers) : GuardedBytes.take(random.bytes(32));
  try {
    const packageId = old?.package_id ?? toHex(random.bytes(16));
    const envelope = await makeEnvelope(packageKey, packageId, manifest.rootDigest, wrappers);
    await store.write(name, [envelopeBytes(envelope)], { absent: old === undefined });
    return { packageKey, envelope };
  } catch (error) {
    packageKey.wipe();
    if (!(error instanceof ModelkeepError && error.code === "BLOB_EXISTS")) throw error;
    throw sealingError("SEALED_EXISTS", { detail: `${store.uri} ${prefix} was taken by another sealing just now` });
  }
}

/** The envelope of an unfinished sealing of the same model, if one was begun. Throws SEALED_EXISTS for another one's. */
export async function readBegun({
  store,
  prefix,
  manifest,
}: Pick<SealOptions, "store" | "prefix" | "manifest">): Promise<KeyEnvelope | undefined> {
  const name = layout.blobName(prefix, layout.NAMES.envelope);
  if (!(await store.stat(name))) return undefined;
  const envelope = parseEnvelope(await store.readAll(name, SEALING_LIMITS.envelopeBytes));
  if (envelope.root_digest === manifest.rootDigest) return envelope;
  throw sealingError("SEALED_EXISTS", { detail: `${store.uri} ${prefix} holds another, unfinished model` });
}

async function sealFiles(
  options: SealOptions,
  packageKey: GuardedBytes,
  packageId: string,
  leafHash: layout.LeafHashName,
) {
  const { root, manifest, store, prefix } = options;
  const walked = await walkSigned(root, manifest);
  const toSeal = signedFiles(walked, manifest);
  const place = { store, prefix, packageKey };
  const files = new Array<layout.SealedFile>(toSeal.length);
  let resumedFiles = 0;
  const streams = await Sha256Streams.load();
  const atOnce = streams.inPairs && store.writeLocal && areLarge(toSeal) ? SEALING_LIMITS.filesAtOnce : 1;
  const threads = await startThreads(toSeal, { ...options, files: atOnce });
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(options.signal ? [options.signal] : [])]);
  const told = tellTogether(options.progress, toSeal);
  const work = { ...options, packageKey, packageId, leafHash, threads, streams, signal };
  const sealOne = async (one: FileToSeal) => {
    const before = await readJournal(place, one.index, { ...one, leafHash });
    if (before) resumedFiles++;
    const file = before ?? (await sealFile({ ...work, progress: told() }, one)).file;
    if (before) told()({ step: "seal", done: one.bytes, total: one.bytes, unit: "bytes" });
    if (!before) await writeJournal(place, one.index, file, leafHash);
    files[one.index] = file;
  };
  // A failure of one stops the other.
  const run = (one: FileToSeal) => () =>
    sealOne(one).catch((error: unknown) => {
      failed.abort(error);
      throw error;
    });
  try {
    const inOrder = atOnce === 1 ? toSeal : largestFirst(toSeal);
    const tasks = inOrder.map((one) => ({ bytes: one.bytes, run: run(one) }));
    await runWithin({ atOnce, budgetBytes: Number.POSITIVE_INFINITY }, tasks);
    return { files, resumedFiles };
  } finally {
    await threads.close();
  }
}

/** So that hardly one is left to go alone. */
const largestFirst = (files: readonly FileToSeal[]) => files.toSorted((a, b) => b.bytes - a.bytes);

/** More than one, and enough to be worth it: each that is under way is lost when the run is killed. */
function areLarge(files: readonly FileToSeal[]): boolean {
  const [, second] = largestFirst(files);
  return second !== undefined && second.bytes >= SEALING_LIMITS.largeFileBytes;
}

/** One figure for all files: on a terminal one line is redrawn. */
function tellTogether(progress: Progress | undefined, files: readonly FileToSeal[]): () => Progress {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let sum = 0;
  return () => {
    let before = 0;
    return ({ done }) => {
      sum += done - before;
      before = done;
      progress?.({ step: "seal", done: sum, total, unit: "bytes" });
    };
  };
}

function signedFiles(walked: readonly ModelFile[], { resources }: VerifiedManifest): FileToSeal[] {
  const found = new Map(walked.map((file) => [file.path, file]));
  return resources.map(({ name: path, digest: sha256 }, index) => {
    const there = found.get(path);
    if (!there) throw signingError("MODEL_NOT_AS_SIGNED", { detail: `${path} is signed but not there` });
    return { ...there, index, sha256 };
  });
}

export function startThreads(
  walked: readonly { readonly bytes: number }[],
  { threads, files = 1 }: { readonly threads?: number; readonly files?: number },
): Promise<SealThreads> {
  const workBytes = walked.reduce((sum, { bytes }) => sum + bytes, 0);
  const slotBytes = SEALING_LIMITS.sealBatchSegments * FLOE_1_MIB.encryptedSegmentBytes;
  return SealThreads.start({ workBytes, slotBytes, files, ...(threads === undefined ? {} : { threads }) });
}

/** A file that is there and not signed would silently stay behind: refused. */
export async function walkSigned(root: string, manifest: VerifiedManifest) {
  const signed = new Set(manifest.resources.map(({ name }) => name));
  const signature = signed.has(layout.NAMES.bundle) ? [] : [layout.NAMES.bundle];
  const files = await walkModel(root, { ignore: [...manifest.serialization.ignorePaths, ...signature] });
  const unsigned = files.find(({ path }) => !signed.has(path));
  if (unsigned) throw signingError("MODEL_NOT_AS_SIGNED", { detail: `${unsigned.path} is there but not signed` });
  return files;
}
