/** Hashes many runs of many files: over threads where that is worth their start, else on this one. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { type FileRun, type HashName, openHash, type RunDigests, RunHasher } from "./hash-run.ts";
import type { FromWorker } from "./hash-worker.ts";

export const HASH_LIMITS = {
  threads: 8,
  /** Of a batch that a thread takes at once. */
  batchRuns: 64,
  batchBytes: 32 * 1024 * 1024,
  /** Below this threads would take longer to start than they save. */
  threadedBytes: 64 * 1024 * 1024,
  threadHeapMib: 64,
  threadYoungHeapMib: 8,
} as const;

export interface HashRunsOptions {
  readonly hash: HashName;
  /** Gets the bytes since it was last told. */
  readonly told?: (bytes: number) => void;
  readonly signal?: AbortSignal;
  /** As many as the machine has cores, at most HASH_LIMITS.threads, when absent; 1 starts none. */
  readonly threads?: number;
}

/** A file that could not be read; the code is the system's. */
export class UnreadableFile extends Error {
  readonly path: string;
  readonly code: string;

  constructor(path: string, code: string) {
    super(`${path} (${code})`);
    this.path = path;
    this.code = code;
  }
}

interface Batch {
  readonly indexes: readonly number[];
  readonly runs: readonly FileRun[];
  readonly bytes: number;
}

/**
 * The digests of every run, in the order of the runs. Throws UnreadableFile, BLAKE3_MISSING, and what the signal was
 * aborted with.
 */
export async function hashRuns(runs: readonly FileRun[], options: HashRunsOptions): Promise<RunDigests[]> {
  options.signal?.throwIfAborted();
  const make = await openHash(options.hash);
  const batches = batchesOf(runs);
  const total = batches.reduce((sum, { bytes }) => sum + bytes, 0);
  const wanted = options.threads ?? (total < HASH_LIMITS.threadedBytes ? 1 : availableParallelism());
  const threads = Math.min(wanted, HASH_LIMITS.threads, batches.length);
  const results = new Array<RunDigests>(runs.length);
  const left = threads > 1 ? await new HashThreads(batches, results, options).run(threads) : batches;
  const hasher = new RunHasher(make);
  for (const batch of left) {
    for (const [at, run] of batch.runs.entries()) {
      results[batch.indexes[at] ?? 0] = await hashHere(hasher, run, options);
    }
  }
  return results;
}

async function hashHere(hasher: RunHasher, run: FileRun, options: HashRunsOptions): Promise<RunDigests> {
  try {
    return await hasher.hash(run, (bytes) => {
      options.signal?.throwIfAborted();
      options.told?.(bytes);
    });
  } catch (error) {
    const isSystem = error instanceof Error && "syscall" in error && "code" in error;
    throw isSystem ? new UnreadableFile(run.path, String(error.code)) : error;
  }
}

/** Large ones first, so that the threads end together. */
function batchesOf(runs: readonly FileRun[]): Batch[] {
  const batches: { indexes: number[]; runs: FileRun[]; bytes: number }[] = [];
  let open: (typeof batches)[number] | undefined;
  for (const [index, run] of runs.entries()) {
    const bytes = (run.ends.at(-1) ?? run.start) - run.start;
    const isFull = open && (open.runs.length >= HASH_LIMITS.batchRuns || open.bytes + bytes > HASH_LIMITS.batchBytes);
    if (!open || isFull) {
      open = { indexes: [], runs: [], bytes: 0 };
      batches.push(open);
    }
    open.indexes.push(index);
    open.runs.push(run);
    open.bytes += bytes;
  }
  return batches.sort((a, b) => b.bytes - a.bytes);
}

class HashThreads {
  readonly #queue: Batch[];
  readonly #results: RunDigests[];
  readonly #options: HashRunsOptions;
  readonly #workers = new Set<Worker>();
  readonly #ended = Promise.withResolvers<void>();

  constructor(batches: readonly Batch[], results: RunDigests[], options: HashRunsOptions) {
    this.#queue = batches.toReversed();
    this.#results = results;
    this.#options = options;
  }

  /** Returns the batches that no thread was there for: all of them where threads cannot start. */
  async run(threads: number): Promise<readonly Batch[]> {
    const { signal } = this.#options;
    const stop = () => this.#ended.reject(signal?.reason);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for (let count = 0; count < threads; count++) this.#start();
      if (this.#workers.size > 0) await this.#ended.promise;
      return this.#queue.toReversed();
    } finally {
      signal?.removeEventListener("abort", stop);
      await Promise.all([...this.#workers].map((worker) => worker.terminate()));
    }
  }

  #start(): void {
    const worker = startWorker(this.#options.hash);
    if (!worker) return;
    this.#workers.add(worker);
    let current: Batch | undefined;
    const next = () => {
      current = this.#queue.pop();
      if (current) worker.postMessage(current.runs);
      else this.#leave(worker);
    };
    worker.on("message", (message: FromWorker) => {
      if ("told" in message) return this.#tell(message.told);
      if ("failed" in message) return this.#ended.reject(new UnreadableFile(message.failed.path, message.failed.code));
      if (current) for (const [at, digests] of message.done.entries()) this.#put(current, at, digests);
      return next();
    });
    const lose = () => {
      if (current) this.#queue.push(current);
      current = undefined;
      this.#leave(worker);
    };
    worker.on("error", lose);
    worker.on("exit", lose);
    next();
  }

  #tell(bytes: number): void {
    try {
      this.#options.told?.(bytes);
    } catch (error) {
      this.#ended.reject(error);
    }
  }

  #put(batch: Batch, at: number, digests: RunDigests): void {
    this.#results[batch.indexes[at] ?? 0] = digests;
  }

  #leave(worker: Worker): void {
    if (!this.#workers.delete(worker)) return;
    void worker.terminate();
    if (this.#workers.size === 0) this.#ended.resolve();
  }
}

function startWorker(hash: HashName): Worker | undefined {
  const name = import.meta.url.endsWith(".ts") ? "./hash-worker.ts" : "./hash-worker.js";
  try {
    return new Worker(new URL(name, import.meta.url), {
      workerData: hash,
      execArgv: [],
      resourceLimits: {
        maxOldGenerationSizeMb: HASH_LIMITS.threadHeapMib,
        maxYoungGenerationSizeMb: HASH_LIMITS.threadYoungHeapMib,
      },
    });
  } catch {
    return undefined;
  }
}
