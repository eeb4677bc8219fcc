/** Files that are doors to a device: written in one piece, without a size, read until they end. */
import { concatBytes, type ModelkeepError } from "../../base/index.ts";
import { files, systemErrorCode } from "../../host/index.ts";
import { attestationError } from "../errors.ts";

/** The kernel takes the whole value in one write and no other. */
export async function writeOnce(path: string, data: Uint8Array): Promise<void> {
  const handle = await files.open(path, "w");
  try {
    const { bytesWritten } = await handle.write(data, 0, data.length, null);
    if (bytesWritten !== data.length) throw new Error(`the kernel took ${bytesWritten} of ${data.length} bytes`);
  } finally {
    await handle.close();
  }
}

/** Files of configfs have no size: they are read until they end. */
export async function readWhole(path: string, maxBytes: number): Promise<Uint8Array> {
  const handle = await files.open(path, "r");
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(4096), 0, 4096, null);
      if (bytesRead === 0) return concatBytes(...parts);
      length += bytesRead;
      if (length > maxBytes) throw new Error(`over ${maxBytes} bytes`);
      parts.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

export function collectFailed(cause: unknown): ModelkeepError {
  const detail = systemErrorCode(cause) ?? (cause instanceof Error ? cause.message : "unknown");
  return attestationError("COLLECT_FAILED", { detail, cause });
}
