/** The main of the inner half: reads job and key from one pipe, loads, tells the other pipe, and ends before the program starts. */
import { readSync, writeSync } from "node:fs";
import { ModelkeepError } from "../base/index.ts";
import { GuardedBytes, systemClock, systemErrorCode, systemRandom } from "../host/index.ts";
import { loaderError } from "./errors.ts";
import {
  decodeJob,
  encodeStatus,
  errorStatus,
  JOB_FD,
  JOB_LENGTH_BYTES,
  type Job,
  STATUS_FD,
  type Status,
} from "./job.ts";
import { LOADER_LIMITS } from "./limits.ts";
import { loadModel } from "./load.ts";

await main();

async function main(): Promise<void> {
  try {
    const job = readJob();
    using packageKey = readKey();
    const ready = await loadModel(job, packageKey, { random: systemRandom, progress: progressTeller() });
    tell({ ready });
  } catch (error) {
    tell(errorStatus(toLoaderError(error)));
    process.exitCode = 1;
  }
}

function readJob(): Job {
  const head = new Uint8Array(JOB_LENGTH_BYTES);
  fill(head);
  const length = new DataView(head.buffer).getUint32(0);
  if (length > LOADER_LIMITS.jobBytes) throw loaderError("JOB_INVALID", { detail: `${length} bytes` });
  const body = new Uint8Array(length);
  fill(body);
  return decodeJob(body);
}

/** Straight from the pipe into guarded memory. */
function readKey(): GuardedBytes {
  const key = GuardedBytes.allocate(LOADER_LIMITS.packageKeyBytes);
  key.use(fill);
  return key;
}

function fill(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(JOB_FD, bytes, at, bytes.length - at, null);
    if (read === 0) throw loaderError("JOB_INVALID", { detail: "it ends too early" });
    at += read;
  }
}

function tell(status: Status): void {
  writeSync(STATUS_FD, encodeStatus(status));
}

function progressTeller(): (update: { done: number; total: number }) => void {
  let last = systemClock.monotonic();
  return ({ done, total }) => {
    const now = systemClock.monotonic();
    if (now - last < LOADER_LIMITS.progressMilliseconds) return;
    last = now;
    tell({ progress: { done, total } });
  };
}

/** What is not ours says only its system code: a message could hold anything. */
function toLoaderError(error: unknown): ModelkeepError {
  if (error instanceof ModelkeepError) return error;
  return loaderError("LOAD_FAILED", { detail: systemErrorCode(error) ?? "unknown" });
}
