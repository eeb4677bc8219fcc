/** The inside of a hashing thread: takes batches of runs, gives their digests back, and tells how far it is. */
import { parentPort, workerData } from "node:worker_threads";
import { type FileRun, findHash, type HashName, type RunDigests, RunHasher } from "./hash-run.ts";

export interface ToWorker {
  readonly runs: readonly FileRun[];
  /** Reads on yet another thread meanwhile. */
  readonly isAhead: boolean;
}

export type FromWorker =
  | { readonly told: number }
  | { readonly done: readonly RunDigests[] }
  | { readonly failed: { readonly path: string; readonly code: string } };

const TOLD_BYTES = 16 * 1024 * 1024;

const say = (message: FromWorker) => parentPort?.postMessage(message);
const make = findHash(workerData as HashName);
if (!make) throw new Error("this thread cannot hash");
const hasher = new RunHasher(make);

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
    for (const run of runs) {
      path = run.path;
      done.push(isAhead ? await hasher.hashAhead(run, told) : hashInTurn(run, told));
    }
    if (since > 0) say({ told: since });
    say({ done });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    say({ failed: { path, code } });
  }
}

function hashInTurn(run: FileRun, told: (bytes: number) => void): RunDigests {
  const steps = hasher.hashInTurn(run);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    told(step.value);
  }
}

parentPort?.on("message", (batch: ToWorker) => void hashBatch(batch));
