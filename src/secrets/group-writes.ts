/** Writes that come at once are made durable at once: a commit waits for the disk, however little is in it. */
import type { RecordStore, RecordTransaction } from "../store/index.ts";

interface Waiting {
  readonly write: (tx: RecordTransaction) => Promise<unknown>;
  readonly done: (result: never) => void;
  readonly failed: (error: unknown) => void;
}

/** Writes in one transaction. */
const MOST_AT_ONCE = 200;

export class GroupWrites {
  readonly #store: RecordStore;
  #waiting: Waiting[] = [];
  #running = false;

  constructor(store: RecordStore) {
    this.#store = store;
  }

  /** `write` must not fail by what is in the store: with it fail all that are written with it. May be called again. */
  add<T>(write: (tx: RecordTransaction) => Promise<T>): Promise<T> {
    const result = new Promise<T>((done, failed) => this.#waiting.push({ write, done, failed }));
    if (!this.#running) void this.#run();
    return result;
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) await this.#write(this.#waiting.splice(0, MOST_AT_ONCE));
    this.#running = false;
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    try {
      const results = await this.#store.transaction(async (tx) => {
        const all: unknown[] = [];
        for (const { write } of group) all.push(await write(tx));
        return all;
      });
      group.forEach(({ done }, index) => {
        done(results[index] as never);
      });
    } catch (error) {
      for (const { failed } of group) failed(error);
    }
  }
}
