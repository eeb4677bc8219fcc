/** Hashes many runs of many files: over threads where that is worth their start, else on this one. */
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import type { StreamHash } from "./blake3.ts";
import { hostError } from "./errors.ts";
import { type Batch, batchesOf, bytesOf, HASH_LIMITS } from "./hash-batches.ts";
import { hashPairs, RunError, suitPairs } from "./hash-pairs.ts";
import { type FileRun, findHash, type HashName, type RunDigests, RunHasher } from "./hash-run.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./hash-worker.ts";
import { loadSha256Lanes, type Sha256Lanes } from "./sha256-lanes.ts";
import { endThread, startThread, threadProgram } from "./thread.ts";

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
  const lanes = await lanesFor(options.hash, total);
  const wanted = options.threads ?? (total < HASH_LIMITS.threadedBytes ? 1 : availableParallelism());
  const allowed = Math.min(wanted, HASH_LIMITS.threads);
  const batches = batchesOf(runs, allowed, lanes !== undefined);
  const hashers = { runs: new RunHasher(make), lanes };
  const threads = Math.min(allowed, batches.length);
  return new HashThreads(batches, options).run(hashers, threads, new Array<RunDigests>(runs.length));
}

interface Hashers {
  readonly runs: RunHasher;
  readonly lanes: Sha256Lanes | undefined;
}

async function lanesFor(hash: HashName, bytes: number): Promise<Sha256Lanes | undefined> {
  return hash === "sha256" && bytes >= HASH_LIMITS.pairedBytes ? loadSha256Lanes() : undefined;
}

class HashThreads {
  readonly #queue: Batch[];
  readonly #options: HashRunsOptions;
  readonly #workers = new Set<Worker>();
  readonly #started: Worker[] = [];
  readonly #stopped = Promise.withResolvers<never>();
  #results: RunDigests[] = [];
  #left = Promise.withResolvers<void>();

  constructor(batches: readonly Batch[], options: HashRunsOptions) {
    this.#queue = batches.toReversed();
    this.#options = options;
  }

  /** This thread takes batches too: the others are still starting then, and where they cannot it takes all of them. */
  async run(hashers: Hashers, threads: number, results: RunDigests[]): Promise<RunDigests[]> {
    this.#results = results;
    const { signal } = this.#options;
    const stop = () => this.#stopped.reject(signal?.reason);
    this.#stopped.promise.catch(() => undefined);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for (let count = 1; count < threads; count++) this.#start(hashers.lanes !== undefined);
      await Promise.race([this.#drain(hashers), this.#stopped.promise]);
      return results;
    } finally {
      this.#queue.length = 0;
      signal?.removeEventListener("abort", stop);
      await Promise.all(this.#started.map(endThread));
    }
  }

  /** A thread that was lost gives its batch back, so the queue may fill again. */
  async #drain(hashers: Hashers): Promise<void> {
    for (;;) {
      const batch = this.#queue.pop();
      if (batch) await this.#hash(hashers, batch);
      else if (this.#workers.size === 0) return;
      else await this.#left.promise;
    }
  }

  async #hash({ runs, lanes }: Hashers, batch: Batch): Promise<void> {
    const told = (bytes: number) => {
      this.#options.signal?.throwIfAborted();
      this.#options.told?.(bytes);
    };
    try {
      if (lanes && suitPairs(batch.runs)) {
        const digests = await inTurn(hashPairs(lanes, batch.runs), told);
        for (const [at, found] of digests.entries()) this.#put(batch, at, found);
        return;
      }
      for (const [at, run] of batch.runs.entries()) {
        const hashing = batch.isAhead ? runs.hashAhead(run, told) : inTurn(runs.hashInTurn(run), told);
        this.#put(batch, at, await hashing.catch((error: unknown) => Promise.reject(ofRun(run, error))));
      }
    } catch (error) {
      throw unreadable(error);
    }
  }

  #start(inPairs: boolean): void {
    const worker = startThread({
      program: threadProgram("./hash-worker", import.meta.url),
      data: { hash: this.#options.hash, inPairs } satisfies WorkerSettings,
      heapMib: HASH_LIMITS.threadHeapMib,
      youngHeapMib: HASH_LIMITS.threadYoungHeapMib,
    });
    if (!worker) return;
    this.#workers.add(worker);
    this.#started.push(worker);
    let current: Batch | undefined;
    const next = () => {
      current = this.#queue.pop();
      if (current) worker.postMessage({ runs: current.runs, isAhead: current.isAhead } satisfies ToWorker);
      else this.#leave(worker);
    };
    worker.on("message", (message: FromWorker) => {
      if ("ready" in message) return;
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
    this.#left.resolve();
    this.#left = Promise.withResolvers();
  }
}

const isSystemError = (error: unknown): error is Error & { code: unknown } =>
  error instanceof Error && "syscall" in error && "code" in error;

const ofRun = (run: FileRun, error: unknown): unknown => (isSystemError(error) ? new RunError(run.path, error) : error);

const unreadable = (error: unknown): unknown =>
  error instanceof RunError ? new UnreadableFile(error.path, codeOf(error.cause)) : error;

const codeOf = (cause: unknown): string => (isSystemError(cause) ? String(cause.code) : "unknown");

/** Between two chunks the other threads get their next batch, and whoever else waits for this one his turn. */
async function inTurn<T>(steps: Generator<number, T>, told: (bytes: number) => void): Promise<T> {
  try {
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      told(step.value);
      await setImmediate();
    }
  } finally {
    steps.return(undefined as T);
  }
}
