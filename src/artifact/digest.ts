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

/** Chunks of `chunkBytes`, the last one shorter; a file that is not `expectedBytes` long throws MODEL_CHANGED. The buffer of a chunk is used again. */
export async function* readChunks(
  path: string,
  chunkBytes: number = ARTIFACT_LIMITS.chunkBytes,
  expectedBytes?: number,
): AsyncGenerator<Uint8Array> {
  const handle = await openNoFollow(path);
  try {
    const buffer = Buffer.allocUnsafe(chunkBytes);
    let total = 0;
    for (;;) {
      const length = await fill(handle, buffer);
      total += length;
      if (expectedBytes !== undefined && total > expectedBytes) throw artifactError("MODEL_CHANGED", { detail: path });
      if (length > 0) yield buffer.subarray(0, length);
      if (length < chunkBytes) break;
    }
    if (expectedBytes !== undefined && total !== expectedBytes) throw artifactError("MODEL_CHANGED", { detail: path });
  } finally {
    await handle.close();
  }
}

/** Without O_NONBLOCK a pipe that took the place of a file would hold the reader for ever. */
async function openNoFollow(path: string): Promise<files.FileHandle> {
  try {
    return await files.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    throw artifactError("MODEL_NOT_READABLE", {
      detail: `${path} (${systemErrorCode(error) ?? "unknown"})`,
      cause: error,
    });
  }
}

async function fill(handle: files.FileHandle, buffer: Buffer): Promise<number> {
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
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
