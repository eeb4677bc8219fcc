/** Whether pages of memory can reach a disk. */
import { fromUtf8 } from "../base/index.ts";
import { readFileBounded } from "../host/index.ts";
import { loaderError } from "./errors.ts";

const PROC_FILE_BYTES = 64 * 1024;

/** Swap devices of this host; empty when swap is off. */
export async function swapDevices(): Promise<readonly string[]> {
  return parseSwaps(await readProc("/proc/swaps"));
}

export function parseSwaps(text: string): readonly string[] {
  const lines = text.trim().split("\n").slice(1);
  return lines.map((line) => line.split(/\s+/)[0] ?? "").filter((name) => name !== "");
}

/** Fails with SWAP_IN_USE unless the mount refuses to be swapped, swap is off, or somebody accepted it. */
export function checkSwap(state: { noSwap: boolean; devices: readonly string[]; allowed: boolean }): void {
  if (state.noSwap || state.devices.length === 0 || state.allowed) return;
  throw loaderError("SWAP_IN_USE", { detail: state.devices.join(", ") });
}

/** A file of /proc or /sys; empty when it cannot be read. */
export async function readProc(path: string): Promise<string> {
  try {
    return fromUtf8(await readFileBounded(path, PROC_FILE_BYTES));
  } catch {
    return "";
  }
}
