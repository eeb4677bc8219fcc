/** Gathers events while a batch is being written: whoever waits for the disk waits together. */
import { auditError } from "./errors.ts";
import { AUDIT_LIMITS } from "./limits.ts";

interface Waiting<T> {
  readonly item: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Batcher<T extends string> {
  readonly #write: (items: readonly T[]) => Promise<void>;
  #waiting: Waiting<T>[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(write: (items: readonly T[]) => Promise<void>) {
    this.#write = write;
  }

  /** Resolves when the batch with the item was written. Throws AUDIT_BUSY, AUDIT_CLOSED, or what the write threw. */
  add(item: T): Promise<void> {
    if (this.#closed) return Promise.reject(auditError("AUDIT_CLOSED"));
    if (this.#waiting.length >= AUDIT_LIMITS.queuedEvents) return Promise.reject(auditError("AUDIT_BUSY"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // What the same turn of the event loop brings goes along.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#writeOne(this.#take());
    }
    this.#running = undefined;
  }

  #take(): readonly Waiting<T>[] {
    let [count, bytes] = [0, 0];
    for (const { item } of this.#waiting) {
      bytes += Buffer.byteLength(item);
      if (count === AUDIT_LIMITS.batchEvents || (count > 0 && bytes > AUDIT_LIMITS.batchBytes)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #writeOne(batch: readonly Waiting<T>[]): Promise<void> {
    try {
      await this.#write(batch.map(({ item }) => item));
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  /** Writes what waits, then refuses. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }
}
