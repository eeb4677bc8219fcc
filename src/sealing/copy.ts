/** Copies a sealed model from store to store as it is: ciphertext, in parallel, resumable, every byte held against its digest. */
import { createHash, type Hash } from "node:crypto";
import type { BlobStore, OpenBlob } from "../artifact/index.ts";
import { equalBytes, ModelkeepError, type Progress } from "../base/index.ts";
import { runWithin, type Task } from "./budget.ts";
import { sealingError } from "./errors.ts";
import { copySmall, type Replaced, type SealedPlace, smallBlobs } from "./finished-target.ts";
import { isThere } from "./journal.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";
import { readEnvelope, readSeal } from "./manage.ts";

export interface CopyOptions {
  readonly from: SealedPlace;
  readonly to: SealedPlace;
  /** Nothing when absent: a target that is finished and says something else is refused. */
  readonly replaced?: Replaced;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface CopyResult {
  readonly packageId: string;
  readonly rootDigest: string;
  /** Payload blobs that were copied, and those that an earlier run had copied. */
  readonly copiedBlobs: number;
  readonly keptBlobs: number;
  readonly bytes: number;
}

/**
 * Needs no key and checks no signature, but holds every blob against what the seal says of it. The envelope is written
 * first, so that a second writer finds the place taken, and the seal last; a finished target gets an envelope that may
 * replace its own only after its payload was found whole. Throws NOT_SEALED, SEALED_EXISTS for another sealed model at
 * the target or for what may not be replaced, BLOB_EXISTS where that changed meanwhile, SEALED_TAMPERED for a source that is damaged or a target that does
 * not keep what it got.
 */
export async function copySealed(options: CopyOptions): Promise<CopyResult> {
  const { from, to } = options;
  if (!(await from.store.stat(layout.blobName(from.prefix, layout.NAMES.seal))))
    throw sealingError("NOT_SEALED", { detail: `${from.store.uri} ${from.prefix}`.trimEnd() });
  const { bytes: sealBytes, predicate, rootDigest } = await readSeal(from.store, from.prefix);
  const envelope = await readEnvelope(from.store, from.prefix);
  if (envelope.package_id !== predicate.package_id)
    throw sealingError("SEALED_TAMPERED", { detail: "envelope and seal are of two packages" });
  await checkTarget(to, predicate.package_id, sealBytes);
  const small = await smallBlobs(from, to, options.replaced ?? "nothing");
  await claim(options, predicate.package_id, sealBytes);
  await to.store.discardUnfinished(layout.blobName(to.prefix, "files/"));
  const copy = new Copy(options, predicate);
  await copy.files(predicate.files);
  for (const blob of small) await copySmall(from, to, blob);
  await finish(to, predicate.package_id, sealBytes);
  return { packageId: predicate.package_id, rootDigest, ...copy.counts };
}

async function checkTarget(to: SealedPlace, packageId: string, seal: Uint8Array): Promise<void> {
  const place = { detail: `${to.store.uri} ${to.prefix}`.trimEnd() };
  const sealName = layout.blobName(to.prefix, layout.NAMES.seal);
  if (await to.store.stat(sealName)) {
    const there = await to.store.readAll(sealName, SEALING_LIMITS.statementBytes);
    if (!equalBytes(there, seal)) throw sealingError("SEALED_EXISTS", place);
  }
  if (!(await to.store.stat(layout.blobName(to.prefix, layout.NAMES.envelope)))) return;
  if ((await readEnvelope(to.store, to.prefix)).package_id !== packageId) throw sealingError("SEALED_EXISTS", place);
}

async function claim({ from, to }: CopyOptions, packageId: string, seal: Uint8Array): Promise<void> {
  const { envelope } = layout.NAMES;
  const bytes = await from.store.readAll(layout.blobName(from.prefix, envelope), SEALING_LIMITS.envelopeBytes);
  await writeFirst(to, envelope, bytes, () => checkTarget(to, packageId, seal));
}

async function finish(to: SealedPlace, packageId: string, seal: Uint8Array): Promise<void> {
  await writeFirst(to, layout.NAMES.seal, seal, () => checkTarget(to, packageId, seal));
}

/** Where another writer was faster, `check` says whether it was with the same. */
async function writeFirst(to: SealedPlace, name: string, bytes: Uint8Array, check: () => Promise<void>): Promise<void> {
  const target = layout.blobName(to.prefix, name);
  if (await to.store.stat(target)) return check();
  try {
    await to.store.write(target, [bytes], { absent: true, bytes: bytes.length });
  } catch (error) {
    if (!(error instanceof ModelkeepError && error.code === "BLOB_EXISTS")) throw error;
    await check();
  }
}

class Copy {
  readonly counts = { copiedBlobs: 0, keptBlobs: 0, bytes: 0 };
  readonly #options: CopyOptions;
  readonly #total: number;
  #done = 0;

  constructor(options: CopyOptions, { files }: layout.SealPredicate) {
    this.#options = options;
    this.#total = files.reduce((sum, file) => sum + layout.sealedBytes(file.bytes), 0);
  }

  async files(files: readonly layout.SealedFile[]): Promise<void> {
    const { copiesAtOnce: atOnce, copyBudgetBytes: budgetBytes, copyBlobBytes } = SEALING_LIMITS;
    const tasks = files.map((file): Task => {
      const bytes = Math.min(layout.sealedBytes(file.bytes), copyBlobBytes);
      return { bytes, run: () => this.#file(file) };
    });
    await runWithin({ atOnce, budgetBytes }, tasks);
  }

  async #file(file: layout.SealedFile): Promise<void> {
    const { from, to } = this.#options;
    if (!(await isThere(from, file))) throw sealingError("SEALED_TAMPERED", { detail: `${file.path} in the source` });
    await this.#blob(file.leaves, file.path);
    await this.#blob(file.blob, file.path);
    if (!(await isThere(to, file))) throw sealingError("SEALED_TAMPERED", { detail: `${file.path} in the target` });
  }

  async #blob(name: string, modelPath: string): Promise<void> {
    const { from, to } = this.#options;
    const [source, target] = [layout.blobName(from.prefix, name), layout.blobName(to.prefix, name)];
    const bytes = (await from.store.stat(source))?.bytes;
    if (bytes !== undefined && (await this.#isKept(source, target, bytes))) {
      this.counts.keptBlobs++;
      this.#tell(name, bytes);
      return;
    }
    for (let attempt = 1; !(await this.#copied(name, modelPath, bytes, attempt)); attempt++);
    this.counts.copiedBlobs++;
  }

  /** False where the connection broke in a way that the store could not mend: then from the start of the blob. */
  async #copied(name: string, modelPath: string, bytes: number | undefined, attempt: number): Promise<boolean> {
    const told = { bytes: 0 };
    try {
      await this.#write(name, modelPath, bytes, told);
      return true;
    } catch (error) {
      const isBroken = error instanceof ModelkeepError && error.code === "BLOBS_UNREACHABLE";
      if (!isBroken || attempt >= SEALING_LIMITS.copyAttempts) throw error;
      this.#tell(name, -told.bytes);
      return false;
    }
  }

  async #write(name: string, modelPath: string, bytes: number | undefined, told: { bytes: number }): Promise<void> {
    const { from, to } = this.#options;
    const [source, target] = [layout.blobName(from.prefix, name), layout.blobName(to.prefix, name)];
    const hash = createHash("sha256");
    const chunks = this.#chunks(from.store, source, (chunk) => {
      hash.update(chunk);
      told.bytes += chunk.length;
      this.#tell(name, chunk.length);
    });
    const written = await to.store.write(target, chunks, { ...(bytes === undefined ? {} : { bytes }), modelPath });
    if (!written.confirmed && hash.digest("hex") !== (await this.#digest(to.store, target)))
      throw sealingError("SEALED_TAMPERED", { detail: `${name} was not kept by the target as it was written` });
    this.counts.bytes += written.bytes;
  }

  /** Both are read where the stores do not keep blobs under their digests. */
  async #isKept(source: string, target: string, bytes: number): Promise<boolean> {
    const { from, to } = this.#options;
    const there = await to.store.stat(target);
    if (there?.bytes !== bytes) return false;
    const expected = (await from.store.stat(source))?.sha256 ?? (await this.#digest(from.store, source));
    return expected === (there.sha256 ?? (await this.#digest(to.store, target)));
  }

  /** The lists of leaves are not counted: they are a small part, and their size is no part of what is promised. */
  #tell(name: string, bytes: number): void {
    if (name.endsWith(".leaves")) return;
    this.#done += bytes;
    this.#options.progress?.({
      step: "copy",
      done: Math.min(this.#done, this.#total),
      total: this.#total,
      unit: "bytes",
    });
  }

  async #digest(store: BlobStore, name: string): Promise<string> {
    const hash: Hash = createHash("sha256");
    for await (const _chunk of this.#chunks(store, name, (chunk) => hash.update(chunk)));
    return hash.digest("hex");
  }

  async *#chunks(store: BlobStore, name: string, each: (chunk: Uint8Array) => void): AsyncGenerator<Uint8Array> {
    const blob = await store.open(name);
    try {
      for await (const chunk of readAhead(blob)) {
        this.#options.signal?.throwIfAborted();
        each(chunk);
        yield chunk;
      }
    } finally {
      await blob.close();
    }
  }
}

/** The next chunk is on its way while the last one is worked on. Each has memory of its own. */
export async function* readAhead(blob: OpenBlob): AsyncGenerator<Uint8Array> {
  const { copyChunkBytes } = SEALING_LIMITS;
  const read = (start: number) => {
    const reading = start < blob.bytes ? blob.read(start, Math.min(blob.bytes, start + copyChunkBytes)) : undefined;
    reading?.catch(() => undefined);
    return reading;
  };
  let reading = read(0);
  try {
    for (let start = 0; reading; ) {
      const chunk = await reading;
      if (chunk.length === 0) return;
      start += chunk.length;
      reading = read(start);
      yield chunk;
    }
  } finally {
    await reading?.catch(() => undefined);
  }
}
