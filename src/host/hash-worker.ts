/** The inside of a hashing thread: takes batches of runs, gives their digests back, and tells how far it is. */
import { parentPort, workerData } from "node:worker_threads";
import { hashPairs, RunError, suitPairs } from "./hash-pairs.ts";
import { type FileRun, findHash, type HashName, type RunDigests, RunHasher } from "./hash-run.ts";
import { loadSha256Lanes } from "./sha256-lanes.ts";

export interface WorkerSettings {
  readonly hash: HashName;
  /** Two runs at once, where this thread can. */
  readonly inPairs: boolean;
}

export interface ToWorker {
  readonly runs: readonly FileRun[];
  /** Reads on yet another thread meanwhile. */
  readonly isAhead: boolean;
}

export type FromWorker =
  | { readonly ready: true }
  | { readonly told: number }
  | { readonly done: readonly RunDigests[] }
  | { readonly failed: { readonly path: string; readonly code: string } };

const TOLD_BYTES = 16 * 1024 * 1024;

const say = (message: FromWorker) => parentPort?.postMessage(message);
const settings = workerData as WorkerSettings;
const make = findHash(settings.hash);
if (!make) throw new Error("this thread cannot hash");
const hasher = new RunHasher(make);
const lanes = settings.inPairs ? await loadSha256Lanes() : undefined;

async function hashBatch({ runs, isAhead }: ToWorker): Promise<void> {
  let since = 0;
  const told = (bytes: number) => {
    since += bytes;
    if (since < TOLD_BYTES) return;
    say({ told: since });
    since = 0;
  };
  let path = "";
  try {
    const done: RunDigests[] = [];
    if (lanes && suitPairs(runs)) done.push(...inTurn(hashPairs(lanes, runs), told));
    else
      for (const run of runs) {
        path = run.path;
        done.push(isAhead ? await hasher.hashAhead(run, told) : inTurn(hasher.hashInTurn(run), told));
      }
    if (since > 0) say({ told: since });
    say({ done });
  } catch (error) {
    if (error instanceof RunError) say({ failed: { path: error.path, code: codeOf(error.cause) } });
    else say({ failed: { path, code: codeOf(error) } });
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : "unknown");

function inTurn<T>(steps: Generator<number, T>, told: (bytes: number) => void): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    told(step.value);
  }
}

parentPort?.on("message", (batch: ToWorker) => void hashBatch(batch));
say({ ready: true });
