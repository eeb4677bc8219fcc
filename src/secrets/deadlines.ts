/** Calls when a time has come, for any number of times: one timer, set to the next of them, and none when there is none. */
import type { Clock } from "../base/index.ts";

interface Due {
  readonly id: string;
  readonly at: number;
}

/** Node takes no longer timer, in milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Entries that were moved or taken out stay in the heap up to this many beside the ones that count. */
const SLACK = 1_000;

export class Deadlines {
  readonly #clock: Clock;
  readonly #onDue: (ids: readonly string[]) => void;
  readonly #times = new Map<string, number>();
  #heap: Due[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** What the timer is set to; nothing is set anew for a later time. */
  #setTo = Number.POSITIVE_INFINITY;

  /** `onDue` gets every id whose time has come, once; it must not throw. */
  constructor(clock: Clock, onDue: (ids: readonly string[]) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#times.size;
  }

  /** `at` on the clock that only grows, in milliseconds; an id has one time, the last that was set. */
  set(id: string, at: number): void {
    this.#times.set(id, at);
    this.#push({ id, at });
    if (this.#heap.length > 2 * this.#times.size + SLACK) this.#rebuild();
    this.#arm();
  }

  has(id: string): boolean {
    return this.#times.has(id);
  }

  delete(id: string): void {
    this.#times.delete(id);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#times.clear();
    this.#heap = [];
    this.#setTo = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const next = this.#next();
    if (!next || next.at >= this.#setTo) return;
    clearTimeout(this.#timer);
    this.#setTo = next.at;
    const wait = Math.min(Math.max(0, Math.ceil(next.at - this.#clock.monotonic())), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => this.#fire(), wait).unref();
  }

  #fire(): void {
    this.#setTo = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonic();
    const due: string[] = [];
    for (let next = this.#next(); next && next.at <= now; next = this.#next()) {
      this.#pop();
      this.#times.delete(next.id);
      due.push(next.id);
    }
    if (due.length > 0) this.#onDue(due);
    this.#arm();
  }

  /** The first entry that still counts. */
  #next(): Due | undefined {
    for (let first = this.#heap[0]; first; first = this.#heap[0]) {
      if (this.#times.get(first.id) === first.at) return first;
      this.#pop();
    }
    return undefined;
  }

  #rebuild(): void {
    this.#heap = [...this.#times].map(([id, at]) => ({ id, at })).sort((a, b) => a.at - b.at);
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (!above || above.at <= due.at) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const child =
        (heap[right]?.at ?? Number.POSITIVE_INFINITY) < (heap[left]?.at ?? Number.POSITIVE_INFINITY) ? right : left;
      const below = heap[child];
      if (!below || below.at >= last.at) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}
