/** Threads of this package's own programs, which end without harm to the process. */
import { getCompileCacheDir } from "node:module";
import { dirname } from "node:path";
import { Worker } from "node:worker_threads";

export interface ThreadOptions {
  readonly program: URL;
  readonly data: unknown;
  readonly heapMib: number;
  readonly youngHeapMib: number;
}

const loaded = new WeakMap<Worker, Promise<unknown>>();
const loading = new Set<Promise<unknown>>();

/** The program's first message says that it has loaded everything. Undefined where no thread can be started. */
export function startThread({ program, data, heapMib, youngHeapMib }: ThreadOptions): Worker | undefined {
  try {
    const worker = new Worker(program, {
      workerData: data,
      env: environment(),
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMib, maxYoungGenerationSizeMb: youngHeapMib },
    });
    loaded.set(worker, untilLoaded(worker));
    return worker;
  } catch {
    return undefined;
  }
}

/** A thread keeps compiled code only when its own environment says where: without it each start takes twice as long. */
function environment(): NodeJS.ProcessEnv {
  const ofThisVersion = getCompileCacheDir();
  return ofThisVersion === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(ofThisVersion) };
}

function untilLoaded(worker: Worker): Promise<unknown> {
  const until = new Promise((resolve) => worker.once("message", resolve).once("exit", resolve));
  loading.add(until);
  return until.finally(() => loading.delete(until));
}

/** For whoever ends the process, which ends its threads: resolves when none is in the middle of its start any more. */
export async function threadsHaveLoaded(): Promise<void> {
  await Promise.all(loading);
}

/**
 * Never before it has loaded: a native package that is stopped in the middle of its start (koffi, by a fatal error of
 * Node-API) takes the whole process with it.
 */
export async function endThread(worker: Worker): Promise<void> {
  await loaded.get(worker);
  await worker.terminate();
}

/** The program beside the module that asks, as source or as built. */
export const threadProgram = (name: string, base: string): URL =>
  new URL(`${name}${base.endsWith(".ts") ? ".ts" : ".js"}`, base);
