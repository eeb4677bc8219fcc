/** The inside of a thread that does one piece of work. */
import { parentPort, workerData } from "node:worker_threads";
import { ModelkeepError } from "../base/index.ts";
import type { FromTask } from "./thread-task.ts";

/** Does the work with the data that the thread was started with, and answers what it resolves to. */
export function answerThreadTask(work: (data: unknown, tell: (message: unknown) => void) => Promise<unknown>): void {
  const say = (message: FromTask) => parentPort?.postMessage(message);
  say({ ready: true });
  work(workerData, (told) => say({ told })).then(
    (done) => say({ done }),
    (error: unknown) => say(failureOf(error)),
  );
}

function failureOf(error: unknown): FromTask {
  if (!(error instanceof ModelkeepError)) return { broken: error instanceof Error ? error.message : "unknown" };
  const { code, status, exit, title, detail, hint } = error;
  const spec = { status, exit, title, ...(hint === undefined ? {} : { hint }) };
  return { failed: { code, spec, detail } };
}
