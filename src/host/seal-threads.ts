/** Runs the tasks of sealing and opening over threads, and on the caller's own while that waits for them. */
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { type AeadEngine, chooseAead } from "./aead.ts";
import { hostError } from "./errors.ts";
import { type RecordResult, type RecordTask, runRecords } from "./seal-run.ts";
import type { FromSealWorker } from "./seal-worker.ts";
import { endThread, startThread, threadProgram } from "./thread.ts";

export const SEAL_THREAD_LIMITS = {
  threads: 8,
  /** Below this threads would take longer to start than they save. */
  threadedBytes: 64 * 1024 * 1024,
  /** Tasks that a thread has at once: one it works on, and one so that it need not wait for this thread. */
  tasksPerThread: 2,
  threadHeapMib: 64,
  threadYoungHeapMib: 8,
} as const;

/** For the caller: one that it fills, one that it works on itself, one that it hands out. */
const SPARE_SLOTS = 3;

export interface SealThreadsOptions {
  /** Of all the work, in bytes. */
  readonly workBytes: number;
  readonly slotBytes: number;
  /** As many as the machine has cores, at most SEAL_THREAD_LIMITS.threads, when absent; 1 starts none. */
  readonly threads?: number;
  /** Files that are worked on side by side; 1 when absent. */
  readonly files?: number;
  /** Another program for the threads; for tests of threads that end. */
  readonly program?: URL;
}

interface Job {
  readonly task: RecordTask;
  readonly result: PromiseWithResolvers<RecordResult>;
}

/**
 * Memory, keys and threads are its own until `close`. For as many callers as it was told files, each of whom takes no
 * more than `slots` and waits for tasks by `wait` alone.
 */
export class SealThreads {
  readonly engine: AeadEngine;
  /** How many tasks each caller can have under way. */
  readonly slots: number;
  readonly #free: SharedArrayBuffer[];
  readonly #all: readonly SharedArrayBuffer[];
  readonly #queue: Job[] = [];
  readonly #workers = new Map<Worker, Job[]>();
  readonly #ready = new Set<Worker>();
  #queued = Promise.withResolvers<void>();

  private constructor(engine: AeadEngine, threads: number, { slotBytes, files = 1 }: SealThreadsOptions) {
    this.engine = engine;
    this.slots = Math.ceil(((threads - 1) * SEAL_THREAD_LIMITS.tasksPerThread) / files) + SPARE_SLOTS;
    this.#all = Array.from({ length: this.slots * files }, () => new SharedArrayBuffer(slotBytes));
    this.#free = [...this.#all];
  }

  static async start(options: SealThreadsOptions): Promise<SealThreads> {
    const { engine } = await chooseAead();
    const wanted = options.workBytes < SEAL_THREAD_LIMITS.threadedBytes ? 1 : availableParallelism();
    const threads = Math.max(1, Math.min(options.threads ?? wanted, SEAL_THREAD_LIMITS.threads));
    const made = new SealThreads(engine, threads, options);
    for (let count = 1; count < threads; count++) made.#start(options.program);
    return made;
  }

  /** A zeroed slot, which the caller gives back by `release`. */
  takeSlot(): SharedArrayBuffer {
    const slot = this.#free.pop();
    if (!slot) throw new RangeError("every slot is taken");
    return slot;
  }

  /** Zeroes the first `dirtyBytes` of it. */
  release(slot: SharedArrayBuffer, dirtyBytes = slot.byteLength): void {
    new Uint8Array(slot, 0, Math.min(slot.byteLength, dirtyBytes)).fill(0);
    this.#free.push(slot);
  }

  /** Memory for the key of one task, which is zeroed with it. */
  keyOf(bytes: Uint8Array): SharedArrayBuffer {
    const key = new SharedArrayBuffer(bytes.length);
    new Uint8Array(key).set(bytes);
    return key;
  }

  /** Rejects with THREAD_LOST when the thread that had it ended. */
  run(task: RecordTask): Promise<RecordResult> {
    const result = Promise.withResolvers<RecordResult>();
    result.promise.catch(() => undefined);
    this.#queue.push({ task, result });
    this.#feed();
    this.#queued.resolve();
    this.#queued = Promise.withResolvers();
    return result.promise;
  }

  /** Takes tasks itself until the promise is settled. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const settle = () => {
      settled = true;
    };
    promise.then(settle, settle);
    while (!settled) {
      if (this.#help()) await setImmediate();
      else await Promise.race([promise, this.#queued.promise]);
    }
    return await promise;
  }

  /** Drops what no thread has begun, of these slots or of all, and waits for the rest: then nobody uses slot or file. */
  async drain(slots?: ReadonlySet<SharedArrayBuffer>): Promise<void> {
    const isOwn = ({ task }: Job) => slots?.has(task.slot) ?? true;
    for (const job of this.#queue.filter(isOwn)) {
      this.#queue.splice(this.#queue.indexOf(job), 1);
      drop(job);
    }
    const begun = [...this.#workers.values()].flat().filter(isOwn);
    await Promise.allSettled(begun.map(({ result }) => result.promise));
  }

  /** Zeroes every slot and ends the threads. */
  async close(): Promise<void> {
    await this.drain();
    const workers = [...this.#workers.keys()];
    this.#workers.clear();
    await Promise.all(workers.map(endThread));
    for (const slot of this.#all) new Uint8Array(slot).fill(0);
  }

  #help(): boolean {
    const job = this.#queue.shift();
    if (!job) return false;
    job.result.resolve(runRecords(job.task, this.engine));
    return true;
  }

  #feed(): void {
    for (const worker of this.#ready) {
      const jobs = this.#workers.get(worker);
      while (jobs && jobs.length < SEAL_THREAD_LIMITS.tasksPerThread) {
        const job = this.#queue.shift();
        if (!job) return;
        jobs.push(job);
        worker.postMessage(job.task);
      }
    }
  }

  #start(program: URL | undefined): void {
    const worker = startThread({
      program: program ?? threadProgram("./seal-worker", import.meta.url),
      data: this.engine.name,
      heapMib: SEAL_THREAD_LIMITS.threadHeapMib,
      youngHeapMib: SEAL_THREAD_LIMITS.threadYoungHeapMib,
    });
    if (!worker) return;
    this.#workers.set(worker, []);
    worker.on("message", (message: FromSealWorker) => {
      if ("ready" in message) this.#ready.add(worker);
      else this.#workers.get(worker)?.shift()?.result.resolve(message.result);
      this.#feed();
    });
    worker.on("error", () => this.#lose(worker));
    worker.on("exit", () => this.#lose(worker));
  }

  /** What it had begun may be half done: the caller gives up. Without a task nothing is lost but speed. */
  #lose(worker: Worker): void {
    this.#ready.delete(worker);
    for (const job of this.#workers.get(worker) ?? []) {
      new Uint8Array(job.task.key).fill(0);
      job.result.reject(hostError("THREAD_LOST"));
    }
    this.#workers.delete(worker);
  }
}

function drop({ task, result }: Job): void {
  new Uint8Array(task.key).fill(0);
  result.reject(new DOMException("the work was given up", "AbortError"));
}
