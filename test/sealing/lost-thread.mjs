/** A sealing thread that says it is ready and ends with its first task. */
import { parentPort } from "node:worker_threads";

parentPort?.on("message", () => process.exit(1));
parentPort?.postMessage({ ready: true });
