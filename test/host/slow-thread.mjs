/** A thread that takes its time to start, and leaves a file when it has. */
import { writeFileSync } from "node:fs";
import { getCompileCacheDir } from "node:module";
import { parentPort, workerData } from "node:worker_threads";

await new Promise((resolve) => setTimeout(resolve, 300));
if (workerData === "ends early") process.exit(1);
writeFileSync(process.env.LOADED_FILE, `${getCompileCacheDir()}`);
parentPort?.postMessage({ ready: true });
