/** Reads a model's file in chunks, without following links, and hashes it. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Progress } from "../base/index.ts";
import { files, fsSync, systemErrorCode } from "../host/index.ts";
import { artifactError } from "./errors.ts";
import { ARTIFACT_LIMITS } from "./limits.ts";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fsSync.constants;

/** The place of a model's file on disk; `.` is the model itself, when it is one file. */
export function modelFilePath(root: string, path: string): string {
  return path === "." ? root : join(root, path);
}

/**
 * Chunks of `chunkBytes`, the last one shorter; a file that is not `expectedBytes` long throws MODEL_CHANGED. A chunk's
 * bytes hold until the next one is asked for: there are two buffers, and one is filled while the other is worked on.
 */
export async function* readChunks(
  path: string,
  chunkBytes: number = ARTIFACT_LIMITS.chunkBytes,
  expectedBytes?: number,
): AsyncGenerator<Uint8Array> {
  const handle = await openNoFollow(path);
  let filling = fill(handle, Buffer.allocUnsafeSlow(chunkBytes), path);
  try {
    let spare: Buffer | undefined;
    let total = 0;
    for (;;) {
      const chunk = await filling;
      total += chunk.length;
      const isLast = chunk.length < chunkBytes;
      const wrong = expectedBytes !== undefined && (isLast ? total !== expectedBytes : total > expectedBytes);
      if (wrong) throw artifactError("MODEL_CHANGED", { detail: path });
      if (!isLast) filling = fill(handle, spare ?? Buffer.allocUnsafeSlow(chunkBytes), path);
      if (chunk.length > 0) yield chunk;
      if (isLast) return;
      spare = chunk;
    }
  } finally {
    await filling.catch(() => undefined);
    await handle.close();
  }
}

/** A model's file for reads in order, into memory of the caller, who closes it. Throws MODEL_NOT_READABLE. */
export async function openModelFile(path: string, startBytes = 0) {
  const handle = await openNoFollow(path);
  let reached = startBytes;
  return {
    /** Fewer bytes than there is room for only at the end of the file. */
    fill: async (room: Uint8Array): Promise<number> => {
      const from = reached;
      reached += room.length;
      return (await fill(handle, Buffer.from(room.buffer, room.byteOffset, room.length), path, from)).length;
    },
    close: () => handle.close(),
  };
}

/** Without O_NONBLOCK a pipe that took the place of a file would hold the reader for ever. */
async function openNoFollow(path: string): Promise<files.FileHandle> {
  try {
    return await files.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    throw notReadable(path, error);
  }
}

/** As much of the buffer as the file still has bytes for, from that place or from where the last read ended. */
async function fill(handle: files.FileHandle, buffer: Buffer, path: string, from?: number): Promise<Buffer> {
  let length = 0;
  try {
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(
        buffer,
        length,
        buffer.length - length,
        from === undefined ? null : from + length,
      );
      if (bytesRead === 0) break;
      length += bytesRead;
    }
  } catch (error) {
    throw notReadable(path, error);
  }
  return buffer.subarray(0, length);
}

function notReadable(path: string, error: unknown) {
  const detail = `${path} (${systemErrorCode(error) ?? "unknown"})`;
  return artifactError("MODEL_NOT_READABLE", { detail, cause: error });
}

/** Lower-case hex SHA-256 of a file; throws MODEL_CHANGED when it is not `expectedBytes` long. */
export async function digestFile(
  root: string,
  path: string,
  expectedBytes?: number,
  progress?: Progress,
): Promise<string> {
  const hash = createHash("sha256");
  let done = 0;
  for await (const chunk of readChunks(modelFilePath(root, path), ARTIFACT_LIMITS.chunkBytes, expectedBytes)) {
    hash.update(chunk);
    done += chunk.length;
    progress?.({ step: "hash", done, total: 0, unit: "bytes" });
  }
  return hash.digest("hex");
}
