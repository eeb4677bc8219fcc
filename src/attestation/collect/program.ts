/** Runs a vendor's program that collects evidence: no shell, bounded output, bounded time. */
import { childProcess } from "../../host/index.ts";
import { attestationError } from "../errors.ts";
import { COLLECT_LIMITS } from "./limits.ts";

export interface ProgramLimits {
  readonly maxBytes: number;
  readonly signal?: AbortSignal;
}

/** What it printed. Throws COLLECT_UNAVAILABLE when there is no such program, COLLECT_FAILED when it fails. */
export function runProgram(
  program: string,
  words: readonly string[],
  { maxBytes, signal }: ProgramLimits,
): Promise<Uint8Array> {
  const limits = { maxBuffer: maxBytes, timeout: COLLECT_LIMITS.programMs };
  return new Promise((resolve, reject) => {
    childProcess.execFile(
      program,
      [...words],
      { ...limits, encoding: "buffer", windowsHide: true, ...(signal ? { signal } : {}) },
      (error, stdout) => {
        if (error) reject(refused(program, error));
        else resolve(new Uint8Array(stdout));
      },
    );
  });
}

function refused(program: string, cause: Error & { readonly code?: unknown }) {
  if (cause.code === "ENOENT") return attestationError("COLLECT_UNAVAILABLE", { detail: program, cause });
  return attestationError("COLLECT_FAILED", {
    detail: `${program} ended with ${String(cause.code ?? "a signal")}`,
    cause,
  });
}
