/** Hashes many runs of many files: over threads where that is worth their start, else on this one. */
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { StreamHash } from "./blake3.ts";
import { hostError } from "./errors.ts";
import { type FileRun, findHash, type HashName, type RunDigests, RunHasher } from "./hash-run.ts";
import type { FromWorker, ToWorker } from "./hash-worker.ts";

export const HASH_LIMITS = {
  threads: 8,
  /** Of a batch that a thread takes at once. */
  batchRuns: 64,
  batchBytes: 32 * 1024 * 1024,
  /** Below this threads would take longer to start than they save. */
  threadedBytes: 256 * 1024 * 1024,
  /** A file below this is read before another thread would have begun to. */
  inTurnBytes: 1024 * 1024,
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
  /** So large a part of the whole that the other threads will wait for it. */
  readonly isAhead: boolean;
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
  const total = runs.reduce((sum, run) => sum + bytesOf(run), 0);
  const wanted = options.threads ?? (total < HASH_LIMITS.threadedBytes ? 1 : availableParallelism());
  const cut = batchesOf(runs);
  const threads = Math.min(wanted, HASH_LIMITS.threads, cut.length);
  const batches = cut.map((batch) => {
    const isLarge = batch.bytes > batch.runs.length * HASH_LIMITS.inTurnBytes;
    return { ...batch, isAhead: isLarge && (threads === 1 || batch.bytes * threads > total) };
  });
  return new HashThreads(batches, options).run(new RunHasher(make), threads, new Array<RunDigests>(runs.length));
}

/** Large ones first, so that the threads end together. */
function batchesOf(runs: readonly FileRun[]): Omit<Batch, "isAhead">[] {
  const batches: { indexes: number[]; runs: FileRun[]; bytes: number }[] = [];
  let open: (typeof batches)[number] | undefined;
  for (const [index, run] of runs.entries()) {
    const bytes = bytesOf(run);
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

const bytesOf = ({ start, ends }: FileRun): number => (ends.at(-1) ?? start) - start;

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
      if (batch)
        for (const [at, run] of batch.runs.entries()) this.#put(batch, at, await this.#hash(hasher, batch, run));
      else if (this.#workers.size === 0) return;
      else await this.#left.promise;
    }
  }

  async #hash(hasher: RunHasher, { isAhead }: Batch, run: FileRun): Promise<RunDigests> {
    const told = (bytes: number) => {
      this.#options.signal?.throwIfAborted();
      this.#options.told?.(bytes);
    };
    try {
      return await (isAhead ? hasher.hashAhead(run, told) : hashInTurn(hasher, run, told));
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
      if (current) worker.postMessage({ runs: current.runs, isAhead: current.isAhead } satisfies ToWorker);
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

/** Between two chunks the other threads get their next batch, and whoever else waits for this one his turn. */
async function hashInTurn(hasher: RunHasher, run: FileRun, told: (bytes: number) => void): Promise<RunDigests> {
  const steps = hasher.hashInTurn(run);
  try {
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      told(step.value);
      await setImmediate();
    }
  } finally {
    steps.return(undefined);
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
