/** SHA-256 of many runs, two at a time: those with the most left go first, so that hardly one is left to go alone. */
import { closeSync, openSync, readSync } from "node:fs";
import { boundsOf, FILE_FLAGS, type FileRun, type RunDigests } from "./hash-run.ts";
import { newSha256State, type Sha256Lanes, type Sha256State } from "./sha256-lanes.ts";

const PAIR_LIMITS = {
  /** Parts that are smaller on the average are not worth a call of their own. */
  partBytes: 64 * 1024,
  openRuns: 8,
} as const;

/** A system error of one run. */
export class RunError extends Error {
  readonly path: string;

  constructor(path: string, cause: unknown) {
    super("the file could not be read", { cause });
    this.path = path;
  }
}

/** Whether pairs are faster than one run after the other. */
export function suitPairs(runs: readonly FileRun[]): boolean {
  const parts = runs.reduce((sum, run) => sum + run.ends.length, 0);
  const bytes = runs.reduce((sum, run) => sum + boundsOf(run).end - run.start, 0);
  return runs.length > 1 && bytes >= parts * PAIR_LIMITS.partBytes;
}

/** The digests in the order of the runs; yields the bytes of every step. Throws RunError. */
export function* hashPairs(lanes: Sha256Lanes, runs: readonly FileRun[]): Generator<number, RunDigests[]> {
  const results = new Array<RunDigests>(runs.length);
  const waiting = [...runs.entries()].sort(([, a], [, b]) => sizeOf(a) - sizeOf(b));
  const opened: PairedRun[] = [];
  try {
    for (;;) {
      while (opened.length < PAIR_LIMITS.openRuns) {
        const next = waiting.pop();
        if (!next) break;
        opened.push(new PairedRun(next[1], next[0]));
      }
      const [first, second] = opened.sort((a, b) => b.left - a.left);
      if (!first) return results;
      yield step(lanes, first, second);
      for (const run of [first, second]) {
        if (!run?.isDone) continue;
        results[run.index] = run.result();
        opened.splice(opened.indexOf(run), 1);
        run.close();
      }
    }
  } finally {
    for (const run of opened) run.close();
  }
}

const sizeOf = (run: FileRun): number => boundsOf(run).end - run.start;

function step(lanes: Sha256Lanes, first: PairedRun, second: PairedRun | undefined): number {
  const lengths = [first.fill(lanes.buffers[0]), second?.fill(lanes.buffers[1]) ?? 0] as const;
  lanes.update(second ? [first.state, second.state] : [first.state], lengths);
  first.advance(lanes, 0, lengths[0]);
  second?.advance(lanes, 1, lengths[1]);
  return lengths[0] + lengths[1];
}

class PairedRun {
  readonly index: number;
  state: Sha256State = newSha256State();
  readonly #run: FileRun;
  readonly #file: number;
  readonly #end: number;
  readonly #digests: string[] = [];
  #position: number;
  #isShort = false;

  constructor(run: FileRun, index: number) {
    this.index = index;
    this.#run = run;
    this.#end = boundsOf(run).end;
    this.#position = run.start;
    this.#file = attempt(run, () => openSync(run.path, FILE_FLAGS));
  }

  get left(): number {
    return this.#end - this.#position;
  }

  get isDone(): boolean {
    return this.#isShort || this.#digests.length === this.#run.ends.length;
  }

  close(): void {
    closeSync(this.#file);
  }

  /** As much as the buffer holds of the current part; less only where the file ends before its time. */
  fill(buffer: Buffer): number {
    const wanted = Math.min(buffer.length, (this.#run.ends[this.#digests.length] ?? this.#position) - this.#position);
    let length = 0;
    while (length < wanted) {
      const got = this.#read(buffer, length, wanted - length, this.#position + length);
      if (got === 0) break;
      length += got;
    }
    this.#isShort = length < wanted;
    return length;
  }

  /** To be called with what `fill` gave, after its whole blocks went into the state. */
  advance(lanes: Sha256Lanes, lane: 0 | 1, length: number): void {
    this.#position += length;
    let rest = lanes.buffers[lane].subarray(length - (length % lanes.blockBytes), length);
    while (!this.isDone && this.#run.ends[this.#digests.length] === this.#position) {
      this.#digests.push(lanes.finish(this.state, rest));
      this.state = newSha256State();
      rest = rest.subarray(rest.length);
    }
  }

  /** A file that goes on after its last part is longer than the run says. */
  result(): RunDigests {
    const isLonger = this.#run.isLast && !this.#isShort && this.#read(Buffer.alloc(1), 0, 1, this.#end) > 0;
    return this.#isShort || isLonger ? undefined : this.#digests;
  }

  #read(buffer: Buffer, at: number, length: number, position: number): number {
    return attempt(this.#run, () => readSync(this.#file, buffer, at, length, position));
  }
}

function attempt<T>(run: FileRun, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new RunError(run.path, error);
  }
}
