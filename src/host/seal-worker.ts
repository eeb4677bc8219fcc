/** The inside of a sealing thread: checks its engine, then takes tasks and gives their results back, in order. */
import { parentPort, workerData } from "node:worker_threads";
import { type AeadName, loadAead } from "./aead.ts";
import { checkAead } from "./aead-check.ts";
import { type RecordResult, type RecordTask, runRecords } from "./seal-run.ts";

export type FromSealWorker = { readonly ready: true } | { readonly result: RecordResult };

const say = (message: FromSealWorker) => parentPort?.postMessage(message);
const engine = await loadAead(workerData as AeadName);
if (!engine || !checkAead(engine)) throw new Error("this thread has no engine");
parentPort?.on("message", (task: RecordTask) => say({ result: runRecords(task, engine) }));
say({ ready: true });
