/** Seals one file: this thread reads and hashes it as a whole, others hash, encrypt and write its segments. */
import { createHash } from "node:crypto";
import {
  artifactError,
  type BlobStore,
  type LocalFile,
  modelFilePath,
  openModelFile,
  type WrittenBlob,
} from "../artifact/index.ts";
import { type Progress, type Random, toHex } from "../base/index.ts";
import {
  fsSync,
  type GuardedBytes,
  hostError,
  LEAF_BYTES,
  type LeafHash,
  RECORD_BODY_AT,
  type RecordFailure,
  type RecordResult,
  type SealThreads,
  type Sha256Stream,
  type Sha256Streams,
  systemErrorCode,
} from "../host/index.ts";
import { signingError } from "../signing/index.ts";
import { batchesOf, rangeBytes, type SegmentBatch, type SegmentRange, wholeRange } from "./batches.ts";
import { FLOE_1_MIB, FLOE_HEADER_BYTES, Floe, SEGMENT_OVERHEAD_BYTES } from "./floe.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

export interface SealFileWork {
  readonly root: string;
  readonly store: BlobStore;
  readonly prefix: string;
  readonly random: Random;
  readonly packageKey: GuardedBytes;
  readonly packageId: string;
  readonly leafHash: layout.LeafHashName;
  readonly threads: SealThreads;
  readonly streams: Sha256Streams;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface FileToSeal {
  readonly index: number;
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Where its bytes lie, when a link leads to them. */
  readonly source?: string;
  /** The FLOE header that several sealers of the file agreed on; a new one when absent. */
  readonly header?: Uint8Array;
}

const RECORD_BYTES = FLOE_1_MIB.encryptedSegmentBytes;
/** Of plaintext in the memory of a batch that was sealed. */
const CLEAR_BYTES = 0;

/** What a store calls the content that was written, where it confirmed with a checksum of its own that it holds it. */
type StoreTag = string | null;

/** Throws MODEL_NOT_AS_SIGNED, MODEL_CHANGED, MODEL_NOT_READABLE, and what the store throws. */
export async function sealFile(
  work: SealFileWork,
  file: FileToSeal,
): Promise<{ readonly file: layout.SealedFile; readonly tag: StoreTag }> {
  const { store, prefix } = work;
  const [blob, leaves] = [layout.fileName(file.index), layout.leavesName(file.index)];
  using floe = floeOf(work, file);
  const sealer = new FileSealer(work, file, floe, wholeRange(file.bytes));
  const name = layout.blobName(prefix, blob);
  const known = { bytes: layout.sealedBytes(file.bytes), modelPath: file.path };
  const written = store.writeLocal
    ? await store.writeLocal(name, (local) => sealer.writeTo(local))
    : await store.write(name, sealer.chunks(), known);
  const list = sealer.leafList();
  await store.write(layout.blobName(prefix, leaves), [list], { bytes: list.length, modelPath: file.path });
  const sealed: layout.SealedFile = {
    path: file.path,
    bytes: file.bytes,
    blob,
    leaves,
    header_tag: toHex(floe.headerTag),
    leaves_sha256: createHash("sha256").update(list).digest("hex"),
    sha256: file.sha256,
  };
  return { file: sealed, tag: await tagOf(store, name, written) };
}

/** Whoever was faster between the write and this look has written what this one may stand for too. */
async function tagOf(store: BlobStore, name: string, { bytes, confirmed }: WrittenBlob): Promise<StoreTag> {
  const stat = confirmed ? await store.stat(name) : undefined;
  return stat?.bytes === bytes ? (stat.tag ?? null) : null;
}

function floeOf({ packageKey, packageId, random }: SealFileWork, { path, header }: FileToSeal): Floe {
  const key = layout.fileKey(packageKey, packageId, path);
  const aad = layout.fileAad(packageId, path);
  try {
    if (header) return Floe.decrypt(key, aad, FLOE_1_MIB, header, random);
    return Floe.encrypt(key, aad, FLOE_1_MIB, random);
  } finally {
    key.fill(0);
  }
}

/** The header for all who seal pieces of that file. */
export function makeHeader(work: Pick<SealFileWork, "packageKey" | "packageId" | "random">, path: string): Uint8Array {
  const key = layout.fileKey(work.packageKey, work.packageId, path);
  using floe = Floe.encrypt(key, layout.fileAad(work.packageId, path), FLOE_1_MIB, work.random);
  key.fill(0);
  return floe.header;
}

/** Of the encrypted segments alone. */
export interface SealedRange {
  readonly sha256: string;
  readonly tag: StoreTag;
  readonly leaves: Uint8Array;
}

/**
 * Writes the encrypted segments of a range under `name`, without the file's header; whoever hashes the file as a whole
 * holds the leaves against it. Throws as `sealFile`.
 */
export async function sealRange(
  work: SealFileWork,
  file: FileToSeal,
  range: SegmentRange,
  name: string,
): Promise<SealedRange> {
  using floe = floeOf(work, file);
  const sealer = new FileSealer(work, file, floe, range);
  const hash = createHash("sha256");
  const chunks = async function* () {
    for await (const chunk of sealer.segments()) {
      hash.update(chunk);
      yield chunk;
    }
  };
  const bytes = rangeBytes(file.bytes, range) + range.count * SEGMENT_OVERHEAD_BYTES;
  const written = await work.store.write(name, chunks(), { bytes, modelPath: file.path });
  return { sha256: hash.digest("hex"), tag: await tagOf(work.store, name, written), leaves: sealer.leafList() };
}

interface Filled {
  readonly batch: SegmentBatch;
  readonly slot: SharedArrayBuffer;
}

interface Pending extends Filled {
  readonly result: Promise<RecordResult>;
}

type ModelSource = Awaited<ReturnType<typeof openModelFile>>;

/** Plaintext is read once, into memory where it is hashed and encrypted: what was hashed is what is sealed. */
class FileSealer {
  readonly #work: SealFileWork;
  readonly #file: FileToSeal;
  readonly #floe: Floe;
  readonly #hashes: readonly LeafHash[];
  readonly #lists: readonly Uint8Array[];
  readonly #range: SegmentRange;
  /** Of what is sealed from its first byte to its last. */
  #whole: Sha256Stream | undefined;
  readonly #slots = new Set<SharedArrayBuffer>();
  readonly #pending: Pending[] = [];

  constructor(work: SealFileWork, file: FileToSeal, floe: Floe, range: SegmentRange) {
    this.#work = work;
    this.#file = file;
    this.#floe = floe;
    this.#hashes = layout.leafHashesOf(work.leafHash);
    this.#lists = this.#hashes.map(() => new Uint8Array(range.count * LEAF_BYTES));
    this.#range = range;
  }

  /** A file that is not what was signed ends in an error before its blob has a name. */
  async writeTo(local: LocalFile): Promise<void> {
    start(local, this.#floe.header, layout.sealedBytes(this.#file.bytes));
    for await (const _done of this.#batches(local));
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    yield this.#floe.header;
    yield* this.segments();
  }

  async *segments(): AsyncGenerator<Uint8Array> {
    for await (const { batch, slot } of this.#batches(undefined))
      yield new Uint8Array(slot, 0, sealedBytes(batch)).slice();
  }

  /** After the last batch: one list after the other. */
  leafList(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#lists));
  }

  /** Sealed batches in order; the memory of one holds until the next is asked for. */
  async *#batches(local: LocalFile | undefined): AsyncGenerator<Filled> {
    const { root, threads, streams } = this.#work;
    const path = this.#file.source ?? modelFilePath(root, this.#file.path);
    const source = await openModelFile(path, this.#range.first * SEALING_LIMITS.segmentBytes);
    let filling: Promise<Filled> | undefined;
    try {
      // What is open keeps another file's digest waiting: it is closed, come what may.
      if (this.#range.count === layout.segmentCount(this.#file.bytes)) this.#whole = streams.open();
      for (const batch of batchesOf(this.#file.bytes, SEALING_LIMITS.sealBatchSegments, threads.slots, this.#range)) {
        if (this.#slots.size + 1 >= threads.slots) yield* this.#finishFirst(local);
        const filled = await filling;
        filling = this.#fill(source, batch);
        filling.catch(() => undefined);
        if (filled) await this.#begin(filled, local);
      }
      if (filling) await this.#begin(await filling, local);
      this.#whole?.close();
      await this.#checkWhole(source);
      while (this.#pending.length > 0) yield* this.#finishFirst(local);
    } finally {
      this.#whole?.close();
      await filling?.catch(() => undefined);
      await threads.drain(this.#slots);
      for (const slot of this.#slots) threads.release(slot);
      await source.close();
    }
  }

  async #fill(source: ModelSource, batch: SegmentBatch): Promise<Filled> {
    const slot = this.#work.threads.takeSlot();
    this.#slots.add(slot);
    for (const [at, { bytes }] of batch.segments.entries())
      if ((await source.fill(plainOf(slot, at, bytes))) < bytes) throw this.#changed();
    return { batch, slot };
  }

  async #begin({ batch, slot }: Filled, local: LocalFile | undefined): Promise<void> {
    const { threads, signal } = this.#work;
    for (const [at, { index, bytes }] of batch.segments.entries()) {
      signal?.throwIfAborted();
      await this.#whole?.update(plainOf(slot, at, bytes));
      this.#tell(index * SEALING_LIMITS.segmentBytes + bytes);
    }
    const result = threads.run({
      kind: "seal",
      key: this.#floe.withSegmentKey(batch.first, (key) => threads.keyOf(key)),
      slot,
      stride: RECORD_BYTES,
      records: batch.segments.map(({ index, isLast, bytes }) => this.#floe.sealPlan(index, isLast, bytes)),
      ...(local ? { sink: { descriptor: local.descriptor, at: FLOE_HEADER_BYTES + batch.first * RECORD_BYTES } } : {}),
      leafHashes: this.#hashes,
    });
    this.#pending.push({ batch, slot, result });
  }

  async *#finishFirst(local: LocalFile | undefined): AsyncGenerator<Filled> {
    const pending = this.#pending.shift();
    if (!pending) return;
    const { batch, slot, result } = pending;
    const made = await this.#work.threads.wait(result);
    if ("failed" in made) throw errorOf(made.failed, local);
    this.#keepLeaves(batch, made.leaves);
    yield { batch, slot };
    this.#slots.delete(slot);
    this.#work.threads.release(slot, CLEAR_BYTES);
  }

  /** The file ends where it should, and is what was signed. */
  async #checkWhole(source: ModelSource): Promise<void> {
    if (this.#range.first + this.#range.count < layout.segmentCount(this.#file.bytes)) return;
    if ((await source.fill(new Uint8Array(1))) > 0) throw this.#changed();
    if (this.#whole && this.#whole.digest() !== this.#file.sha256)
      throw signingError("MODEL_NOT_AS_SIGNED", { detail: this.#file.path });
  }

  #keepLeaves({ first, count }: SegmentBatch, leaves: Uint8Array): void {
    for (let at = 0; at < count; at++)
      for (const [which, list] of this.#lists.entries()) {
        const from = (at * this.#lists.length + which) * LEAF_BYTES;
        list.set(leaves.subarray(from, from + LEAF_BYTES), (first - this.#range.first + at) * LEAF_BYTES);
      }
  }

  #tell(done: number): void {
    const { bytes, path } = this.#file;
    this.#work.progress?.({ step: `seal ${path}`, done, total: bytes, unit: "bytes" });
  }

  #changed(): Error {
    return artifactError("MODEL_CHANGED", { detail: modelFilePath(this.#work.root, this.#file.path) });
  }
}

/** Where the plaintext of a slot's segment lies. */
function plainOf(slot: SharedArrayBuffer, at: number, bytes: number): Uint8Array {
  return new Uint8Array(slot, at * RECORD_BYTES + RECORD_BODY_AT, bytes);
}

/** Only the last segment of a file is shorter, and nothing comes after it. */
function sealedBytes({ count, bytes }: SegmentBatch): number {
  return bytes + count * (RECORD_BYTES - SEALING_LIMITS.segmentBytes);
}

/** The length comes first, so that a memory file system can take huge pages. */
function start(local: LocalFile, header: Uint8Array, bytes: number): void {
  try {
    fsSync.ftruncateSync(local.descriptor, bytes);
    if (fsSync.writeSync(local.descriptor, header, 0, header.length, 0) === header.length) return;
  } catch (error) {
    throw local.error(systemErrorCode(error) ?? "unknown");
  }
  throw local.error("ENOSPC");
}

function errorOf({ why, code = "unknown" }: RecordFailure, local: LocalFile | undefined): Error {
  return why === "write" && local ? local.error(code) : hostError("ENGINE_FAILED");
}
