/** Copies a sealed model from store to store as it is: ciphertext, resumable, every byte read back. */
import { createHash } from "node:crypto";
import type { BlobStore } from "../artifact/index.ts";
import { equalBytes, type Progress } from "../base/index.ts";
import { SIGNING_LIMITS, siblingFolder } from "../signing/index.ts";
import { sealingError } from "./errors.ts";
import { isThere } from "./journal.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";
import { readEnvelope, readSeal } from "./manage.ts";

export interface SealedPlace {
  readonly store: BlobStore;
  readonly prefix: string;
}

export interface CopyOptions {
  readonly from: SealedPlace;
  readonly to: SealedPlace;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface CopyResult {
  readonly packageId: string;
  /** Payload blobs that were copied, and those that an earlier run had copied. */
  readonly copiedBlobs: number;
  readonly keptBlobs: number;
  readonly bytes: number;
}

const CHUNK_BYTES = SEALING_LIMITS.segmentBytes;

/**
 * Needs no key and checks no signature, but holds every blob against what the seal says of it. The seal is written
 * last. Throws SEALED_EXISTS for another sealed model at the target, SEALED_TAMPERED for a source that is damaged.
 */
export async function copySealed(options: CopyOptions): Promise<CopyResult> {
  const { from, to } = options;
  const { bytes: sealBytes, predicate } = await readSeal(from.store, from.prefix);
  const envelope = await readEnvelope(from.store, from.prefix);
  if (envelope.package_id !== predicate.package_id)
    throw sealingError("SEALED_TAMPERED", { detail: "envelope and seal are of two packages" });
  await checkTarget(to, predicate.package_id, sealBytes);
  await to.store.discardUnfinished(layout.blobName(to.prefix, "files/"));
  const copy = new Copy(options, predicate);
  for (const file of predicate.files) await copy.file(file);
  for (const name of [layout.NAMES.envelope, layout.NAMES.bundle]) await copySmall(options, name, true);
  for (const name of [layout.NAMES.bom, layout.NAMES.findings]) await copySmall(options, name, false);
  for (const name of await besideSignature(from)) await copySmall(options, name, false);
  await to.store.write(layout.blobName(to.prefix, layout.NAMES.seal), [sealBytes]);
  return { packageId: predicate.package_id, ...copy.counts };
}

/** Signatures of further signers, and statements. */
async function besideSignature({ store, prefix }: SealedPlace): Promise<string[]> {
  const folder = siblingFolder(layout.NAMES.bundle);
  const from = layout.blobName(prefix, `${folder}/`);
  const names: string[] = [];
  for await (const blob of store.list(from)) names.push(`${folder}/${blob.slice(from.length)}`);
  if (names.length <= SIGNING_LIMITS.siblings) return names;
  throw sealingError("SEALED_INVALID", { detail: `over ${SIGNING_LIMITS.siblings} blobs beside the signature` });
}

async function checkTarget(to: SealedPlace, packageId: string, seal: Uint8Array): Promise<void> {
  const place = { detail: `${to.store.uri} ${to.prefix}` };
  const sealName = layout.blobName(to.prefix, layout.NAMES.seal);
  if (await to.store.stat(sealName)) {
    const there = await to.store.readAll(sealName, SEALING_LIMITS.statementBytes);
    if (!equalBytes(there, seal)) throw sealingError("SEALED_EXISTS", place);
  }
  if (!(await to.store.stat(layout.blobName(to.prefix, layout.NAMES.envelope)))) return;
  if ((await readEnvelope(to.store, to.prefix)).package_id !== packageId) throw sealingError("SEALED_EXISTS", place);
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

  async file(file: layout.SealedFile): Promise<void> {
    const { from, to } = this.#options;
    if (!(await isThere(from, file))) throw sealingError("SEALED_TAMPERED", { detail: `${file.path} in the source` });
    await this.#blob(file.leaves);
    await this.#blob(file.blob);
    this.#done += layout.sealedBytes(file.bytes);
    if (!(await isThere(to, file))) throw sealingError("SEALED_TAMPERED", { detail: `${file.path} in the target` });
  }

  async #blob(name: string): Promise<void> {
    const { from, to } = this.#options;
    const [source, target] = [layout.blobName(from.prefix, name), layout.blobName(to.prefix, name)];
    const bytes = (await from.store.stat(source))?.bytes;
    const sameLength = bytes !== undefined && (await to.store.stat(target))?.bytes === bytes;
    if (sameLength && (await this.#digest(from.store, source)) === (await this.#digest(to.store, target))) {
      this.counts.keptBlobs++;
      return;
    }
    const hash = createHash("sha256");
    const written = await to.store.write(target, this.#chunks(from.store, source, hash));
    if (hash.digest("hex") !== (await this.#digest(to.store, target)))
      throw sealingError("SEALED_TAMPERED", { detail: `${name} was not kept by the target as it was written` });
    this.counts.copiedBlobs++;
    this.counts.bytes += written.bytes;
  }

  async *#chunks(store: BlobStore, name: string, hash: ReturnType<typeof createHash>): AsyncGenerator<Uint8Array> {
    const blob = await store.open(name);
    try {
      for (let start = 0; start < blob.bytes; start += CHUNK_BYTES) {
        this.#options.signal?.throwIfAborted();
        const chunk = await blob.read(start, start + CHUNK_BYTES);
        hash.update(chunk);
        yield chunk;
        const done = Math.min(this.#total, this.#done + start);
        this.#options.progress?.({ step: "copy", done, total: this.#total, unit: "bytes" });
      }
    } finally {
      await blob.close();
    }
  }

  async #digest(store: BlobStore, name: string): Promise<string> {
    const hash = createHash("sha256");
    for await (const _chunk of this.#chunks(store, name, hash));
    return hash.digest("hex");
  }
}

async function copySmall({ from, to }: CopyOptions, name: string, needed: boolean): Promise<void> {
  const source = layout.blobName(from.prefix, name);
  if (!needed && !(await from.store.stat(source))) return;
  const bytes = await from.store.readAll(source, SEALING_LIMITS.bundleBytes);
  await to.store.write(layout.blobName(to.prefix, name), [bytes]);
}
