/** Deals runs out in batches: what a thread takes at once. */
import { boundsOf, type FileRun } from "./hash-run.ts";

export const HASH_LIMITS = {
  threads: 8,
  /** Of a batch that a thread takes at once. */
  batchRuns: 64,
  batchBytes: 32 * 1024 * 1024,
  /** Below this threads would take longer to start than they save. */
  threadedBytes: 256 * 1024 * 1024,
  /** Below this two streams at once would save less than it takes to load what hashes them. */
  pairedBytes: 64 * 1024 * 1024,
  threadHeapMib: 64,
  threadYoungHeapMib: 8,
  /** A file below this is read before another thread would have begun to. */
  inTurnBytes: 1024 * 1024,
} as const;

/** What keeps both lanes of a thread busy. */
const PAIR_RUNS = 2;

export interface Batch {
  readonly indexes: readonly number[];
  readonly runs: readonly FileRun[];
  readonly bytes: number;
  /** So large a part of the whole that the other threads will wait for it. */
  readonly isAhead: boolean;
}

interface OpenBatch {
  readonly indexes: number[];
  readonly runs: FileRun[];
  bytes: number;
}

export const bytesOf = (run: FileRun): number => boundsOf(run).end - run.start;

/** Large ones first, so that the threads end together; with `inPairs` no large run is alone unless it must be. */
export function batchesOf(runs: readonly FileRun[], threads: number, inPairs: boolean): Batch[] {
  const entries = [...runs.entries()];
  const isLarge = ([, run]: [number, FileRun]) => inPairs && bytesOf(run) * PAIR_RUNS > HASH_LIMITS.batchBytes;
  const large = dealLarge(entries.filter(isLarge), threads);
  const batches = [...large, ...dealSmall(entries.filter((entry) => !isLarge(entry)))];
  const total = batches.reduce((sum, { bytes }) => sum + bytes, 0);
  const busy = Math.min(threads, batches.length);
  return batches
    .sort((a, b) => b.bytes - a.bytes)
    .map((batch) => {
      const isWorthIt = batch.bytes > batch.runs.length * HASH_LIMITS.inTurnBytes;
      return { ...batch, isAhead: isWorthIt && (busy === 1 || batch.bytes * busy > total) };
    });
}

function dealSmall(entries: readonly [number, FileRun][]): OpenBatch[] {
  const batches: OpenBatch[] = [];
  let open: OpenBatch | undefined;
  for (const [index, run] of entries) {
    const isFull =
      open && (open.runs.length >= HASH_LIMITS.batchRuns || open.bytes + bytesOf(run) > HASH_LIMITS.batchBytes);
    if (!open || isFull) {
      open = { indexes: [], runs: [], bytes: 0 };
      batches.push(open);
    }
    put(open, index, run);
  }
  return batches;
}

/** Each to the lightest of as many batches as still get two runs each, a multiple of the threads. */
function dealLarge(entries: readonly [number, FileRun][], threads: number): OpenBatch[] {
  const rounds = Math.max(1, Math.floor(entries.length / (threads * PAIR_RUNS)));
  const count = Math.min(entries.length, threads * rounds);
  const batches = Array.from({ length: count }, (): OpenBatch => ({ indexes: [], runs: [], bytes: 0 }));
  for (const [index, run] of entries.toSorted(([, a], [, b]) => bytesOf(b) - bytesOf(a))) {
    const lightest = batches.reduce((least, batch) => (batch.bytes < least.bytes ? batch : least));
    put(lightest, index, run);
  }
  return batches;
}

function put(batch: OpenBatch, index: number, run: FileRun): void {
  batch.indexes.push(index);
  batch.runs.push(run);
  batch.bytes += bytesOf(run);
}
