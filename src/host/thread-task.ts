/** One piece of work on a thread with a heap of its own size: it tells how far it is, and ends with an answer or an error. */
import type { Worker } from "node:worker_threads";
import { type ErrorSpec, ModelkeepError } from "../base/index.ts";
import { hostError } from "./errors.ts";
import { endThread, startThread, type ThreadOptions } from "./thread.ts";

export interface ThreadTask extends ThreadOptions {
  /** Gets what the work tells while it runs, in order. */
  readonly told?: (message: unknown) => void;
  readonly signal?: AbortSignal;
}

export interface FailedTask {
  readonly code: string;
  readonly spec: ErrorSpec;
  readonly detail: string | undefined;
}

export type FromTask =
  | { readonly ready: true }
  | { readonly told: unknown }
  | { readonly done: unknown }
  | { readonly failed: FailedTask }
  | { readonly broken: string };

/**
 * What the work answered; undefined when no thread can be started. Throws the work's own error with its code,
 * THREAD_OVER_MEMORY when its heap was too small, THREAD_LOST when it ended without a word, and what the signal was
 * aborted with.
 */
export async function runThreadTask(task: ThreadTask): Promise<{ readonly answer: unknown } | undefined> {
  task.signal?.throwIfAborted();
  const worker = startThread(task);
  if (!worker) return undefined;
  const ended = Promise.withResolvers<unknown>();
  const stop = () => ended.reject(task.signal?.reason);
  task.signal?.addEventListener("abort", stop, { once: true });
  listen(worker, ended, task.told);
  try {
    return { answer: await ended.promise };
  } finally {
    task.signal?.removeEventListener("abort", stop);
    await endThread(worker);
  }
}

function listen(worker: Worker, ended: PromiseWithResolvers<unknown>, told: ThreadTask["told"]): void {
  worker.on("message", (message: FromTask) => {
    if ("done" in message) ended.resolve(message.done);
    else if ("failed" in message) ended.reject(errorOf(message.failed));
    else if ("broken" in message) ended.reject(new Error(message.broken));
    else if ("told" in message) tell(message.told);
  });
  const tell = (message: unknown) => {
    try {
      told?.(message);
    } catch (error) {
      ended.reject(error);
    }
  };
  worker.on("error", (error: Error & { code?: string }) => {
    ended.reject(error.code === "ERR_WORKER_OUT_OF_MEMORY" ? hostError("THREAD_OVER_MEMORY") : error);
  });
  worker.on("exit", () => ended.reject(hostError("THREAD_LOST")));
}

const errorOf = ({ code, spec, detail }: FailedTask): ModelkeepError =>
  new ModelkeepError(code, spec, detail === undefined ? {} : { detail });
