/** Hashes many runs of many files: over threads where that is worth their start, else on this one. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { StreamHash } from "./blake3.ts";
import { hostError } from "./errors.ts";
import { type FileRun, findHash, type HashName, type RunDigests, RunHasher } from "./hash-run.ts";
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

/** BLAKE2b has 64 bytes and no key (RFC 7693). Throws BLAKE3_MISSING. */
export function openHash(name: HashName): () => StreamHash {
  const make = findHash(name);
  if (!make) throw hostError("BLAKE3_MISSING");
  return make;
}

/**
 * The digests of every run, in the order of the runs. Throws UnreadableFile, BLAKE3_MISSING, and what the signal was
 * aborted with.
 */
export async function hashRuns(runs: readonly FileRun[], options: HashRunsOptions): Promise<RunDigests[]> {
  options.signal?.throwIfAborted();
  const make = openHash(options.hash);
  const batches = batchesOf(runs);
  const total = batches.reduce((sum, { bytes }) => sum + bytes, 0);
  const wanted = options.threads ?? (total < HASH_LIMITS.threadedBytes ? 1 : availableParallelism());
  const threads = Math.min(wanted, HASH_LIMITS.threads, batches.length);
  return new HashThreads(batches, options).run(new RunHasher(make), threads, new Array<RunDigests>(runs.length));
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
  readonly #options: HashRunsOptions;
  readonly #workers = new Set<Worker>();
  readonly #stopped = Promise.withResolvers<never>();
  #results: RunDigests[] = [];
  #left = Promise.withResolvers<void>();

  constructor(batches: readonly Batch[], options: HashRunsOptions) {
    this.#queue = batches.toReversed();
    this.#options = options;
  }

  /** This thread takes batches too: the others are still starting then, and where they cannot it takes all of them. */
  async run(hasher: RunHasher, threads: number, results: RunDigests[]): Promise<RunDigests[]> {
    this.#results = results;
    const { signal } = this.#options;
    const stop = () => this.#stopped.reject(signal?.reason);
    this.#stopped.promise.catch(() => undefined);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for (let count = 1; count < threads; count++) this.#start();
      await Promise.race([this.#drain(hasher), this.#stopped.promise]);
      return results;
    } finally {
      this.#queue.length = 0;
      signal?.removeEventListener("abort", stop);
      await Promise.all([...this.#workers].map((worker) => worker.terminate()));
    }
  }

  /** A thread that was lost gives its batch back, so the queue may fill again. */
  async #drain(hasher: RunHasher): Promise<void> {
    for (;;) {
      const batch = this.#queue.pop();
      if (batch) for (const [at, run] of batch.runs.entries()) this.#put(batch, at, await this.#hash(hasher, run));
      else if (this.#workers.size === 0) return;
      else await this.#left.promise;
    }
  }

  async #hash(hasher: RunHasher, run: FileRun): Promise<RunDigests> {
    try {
      return await hasher.hash(run, (bytes) => {
        this.#options.signal?.throwIfAborted();
        this.#options.told?.(bytes);
      });
    } catch (error) {
      const isSystem = error instanceof Error && "syscall" in error && "code" in error;
      throw isSystem ? new UnreadableFile(run.path, String(error.code)) : error;
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
      if ("failed" in message)
        return this.#stopped.reject(new UnreadableFile(message.failed.path, message.failed.code));
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
      this.#stopped.reject(error);
    }
  }

  #put(batch: Batch, at: number, digests: RunDigests): void {
    this.#results[batch.indexes[at] ?? 0] = digests;
  }

  #leave(worker: Worker): void {
    if (!this.#workers.delete(worker)) return;
    void worker.terminate();
    this.#left.resolve();
    this.#left = Promise.withResolvers();
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
