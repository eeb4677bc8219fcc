/** Opens the segments of one file over threads: each one's tag and leaf are checked before a byte of it goes out. */
import type { LocalFile, OpenBlob } from "../artifact/index.ts";
import {
  hostError,
  LEAF_BYTES,
  type LeafHash,
  RECORD_BODY_AT,
  type RecordFailure,
  type RecordResult,
  type SealThreads,
} from "../host/index.ts";
import { batchesOf, type SegmentBatch } from "./batches.ts";
import { sealingError } from "./errors.ts";
import { FLOE_1_MIB, FLOE_HEADER_BYTES, type Floe } from "./floe.ts";
import type * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

/** Where the plaintext of one file goes. */
export interface SinkFile {
  /** Segments in order; the bytes hold until it resolves. */
  write(chunk: Uint8Array): Promise<void>;
  close(): Promise<void>;
  /** Until it is closed; where the file is one of this machine. Threads then write segments at their places. */
  readonly local?: LocalFile;
}

export interface FileToOpen {
  readonly file: layout.SealedFile;
  readonly floe: Floe;
  readonly blob: OpenBlob;
  readonly out: SinkFile;
  readonly leafHash: LeafHash;
  /** Of every segment by that hash. */
  readonly leaves: Uint8Array;
}

export interface OpenWatch {
  readonly signal: AbortSignal | undefined;
  readonly told: (doneBytes: number) => void;
}

interface Pending {
  readonly batch: SegmentBatch;
  readonly slot: SharedArrayBuffer;
  readonly result: Promise<RecordResult>;
}

const RECORD_BYTES = FLOE_1_MIB.encryptedSegmentBytes;

/** Throws SEALED_TAMPERED, what the owners of blob and file call a system error, and what the signal was aborted with. */
export async function openSegments(threads: SealThreads, input: FileToOpen, watch: OpenWatch): Promise<void> {
  const opener = new SegmentOpener(threads, input, watch);
  try {
    await opener.run();
  } finally {
    await opener.stop();
  }
}

class SegmentOpener {
  readonly #threads: SealThreads;
  readonly #input: FileToOpen;
  readonly #watch: OpenWatch;
  /** A thread reads and writes one record after the other in the same memory, which stays in its cache. */
  readonly #isLocal: boolean;
  readonly #pending: Pending[] = [];
  #stopped = false;

  constructor(threads: SealThreads, input: FileToOpen, watch: OpenWatch) {
    this.#threads = threads;
    this.#input = input;
    this.#watch = watch;
    this.#isLocal = input.blob.local !== undefined && input.out.local !== undefined;
  }

  async run(): Promise<void> {
    const most = this.#isLocal ? SEALING_LIMITS.localBatchSegments : SEALING_LIMITS.batchSegments;
    for (const batch of batchesOf(this.#input.file.bytes, most, this.#threads.slots)) {
      this.#watch.signal?.throwIfAborted();
      if (this.#pending.length === this.#threads.slots) await this.#finishFirst();
      const slot = this.#threads.takeSlot();
      const result = this.#begin(batch, slot);
      result.catch(() => undefined);
      this.#pending.push({ batch, slot, result });
    }
    while (this.#pending.length > 0) await this.#finishFirst();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const begun = this.#pending.map(({ result }) => result);
    await this.#threads.drain();
    await Promise.allSettled(begun);
    for (const { slot } of this.#pending.splice(0)) this.#threads.release(slot);
  }

  async #begin(batch: SegmentBatch, slot: SharedArrayBuffer): Promise<RecordResult> {
    const { floe, blob, out, leafHash, leaves } = this.#input;
    const { first, count } = batch;
    if (!blob.local) await this.#fill(batch, slot);
    if (this.#stopped) throw new DOMException("the work was given up", "AbortError");
    const sourceAt = FLOE_HEADER_BYTES + first * RECORD_BYTES;
    return this.#threads.run({
      kind: "open",
      key: floe.withSegmentKey(first, (key) => this.#threads.keyOf(key)),
      slot,
      stride: this.#isLocal ? 0 : RECORD_BYTES,
      records: batch.segments.map(({ index, isLast, bytes }) => floe.segmentPlan(index, isLast, bytes)),
      ...(blob.local ? { source: { descriptor: blob.local.descriptor, at: sourceAt } } : {}),
      ...(out.local ? { sink: { descriptor: out.local.descriptor, at: first * SEALING_LIMITS.segmentBytes } } : {}),
      leafHash,
      leaves: leaves.slice(first * LEAF_BYTES, (first + count) * LEAF_BYTES),
    });
  }

  /** From a store that only this thread can ask. */
  async #fill({ first, count, bytes }: SegmentBatch, slot: SharedArrayBuffer): Promise<void> {
    const start = FLOE_HEADER_BYTES + first * RECORD_BYTES;
    const end = start + bytes + count * (RECORD_BYTES - SEALING_LIMITS.segmentBytes);
    const room = new Uint8Array(slot, 0, end - start);
    const sealed = await this.#input.blob.read(start, end, room);
    if (sealed.length !== room.length) throw this.#error(first, { record: 0, why: "cut" });
    if (sealed.buffer !== slot) room.set(sealed);
  }

  async #finishFirst(): Promise<void> {
    const [pending] = this.#pending;
    if (!pending) return;
    const { batch, slot, result } = pending;
    const made = await this.#threads.wait(result);
    if ("failed" in made) throw this.#error(batch.first, made.failed);
    if (!this.#input.out.local) await this.#handOut(batch, slot);
    this.#pending.shift();
    this.#threads.release(slot, this.#isLocal ? RECORD_BYTES : batch.count * RECORD_BYTES);
    if (this.#input.out.local) this.#watch.told(batch.first * SEALING_LIMITS.segmentBytes + batch.bytes);
  }

  async #handOut(batch: SegmentBatch, slot: SharedArrayBuffer): Promise<void> {
    for (const [at, { index, bytes }] of batch.segments.entries()) {
      this.#watch.signal?.throwIfAborted();
      await this.#input.out.write(new Uint8Array(slot, at * RECORD_BYTES + RECORD_BODY_AT, bytes));
      this.#watch.told(index * SEALING_LIMITS.segmentBytes + bytes);
    }
  }

  #error(first: number, { record, why, code = "unknown" }: RecordFailure): Error {
    const { file, blob, out } = this.#input;
    const segment = `${file.path}: segment ${first + record}`;
    if (why === "cut") return sealingError("SEALED_TAMPERED", { detail: `${segment} is cut` });
    if (why === "tag") return sealingError("SEALED_TAMPERED", { detail: `${segment} was changed` });
    if (why === "leaf") return sealingError("SEALED_TAMPERED", { detail: `${segment} is not what was signed` });
    if (why === "read" && blob.local) return blob.local.error(code);
    if (why === "write" && out.local) return out.local.error(code);
    return hostError("ENGINE_FAILED");
  }
}
