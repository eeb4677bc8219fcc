/** Files: bounded reads, atomic durable writes, and the part of node:fs that the other floors use. */
import * as fsSync from "node:fs";
import { dirname } from "node:path";
import { baseError } from "../base/index.ts";
import { hostError } from "./errors.ts";
import * as files from "./node-files.ts";

export { files, fsSync };

/** The code of a system error, for example `ENOENT`. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** Reads a regular file of at most `maxBytes`; the size is checked while reading, not before. */
export async function readFileBounded(path: string, maxBytes: number): Promise<Uint8Array> {
  const handle = await openForReading(path);
  try {
    const stat = await handle.stat();
    if (stat.isDirectory()) throw hostError("FILE_UNREADABLE", { detail: `${path} is a directory` });
    const buffer = Buffer.alloc(Math.min(stat.size, maxBytes) + 1);
    let length = 0;
    let room: Buffer = buffer;
    for (;;) {
      const { bytesRead } = await handle.read(room, length, room.length - length, null);
      length += bytesRead;
      if (length > maxBytes) throw baseError("LIMIT_EXCEEDED", { detail: `${path} is over ${maxBytes} bytes` });
      if (bytesRead === 0) return new Uint8Array(room.buffer, room.byteOffset, length);
      if (length === room.length) room = grow(room, maxBytes);
    }
  } finally {
    await handle.close();
  }
}

function grow(buffer: Buffer, maxBytes: number): Buffer {
  const larger = Buffer.alloc(Math.min(buffer.length * 2, maxBytes + 1));
  buffer.copy(larger);
  buffer.fill(0);
  return larger;
}

async function openForReading(path: string): Promise<files.FileHandle> {
  try {
    return await files.open(path, "r");
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") throw hostError("FILE_NOT_FOUND", { detail: path, cause: error });
    throw hostError("FILE_UNREADABLE", { detail: `${path} (${code ?? "unknown"})`, cause: error });
  }
}

/** Whole or not at all, and on the disk when it resolves: temporary file, fsync, rename, fsync of the folder. */
export async function writeFileAtomic(path: string, data: Uint8Array, options: { mode?: number } = {}): Promise<void> {
  const temporary = `${path}.${process.pid}.${process.hrtime.bigint().toString(36)}.tmp`;
  try {
    await writeDurable(temporary, data, options.mode ?? 0o644);
    await files.rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await files.rm(temporary, { force: true });
    throw hostError("FILE_UNWRITABLE", { detail: `${path} (${systemErrorCode(error) ?? "unknown"})`, cause: error });
  }
}

async function writeDurable(path: string, data: Uint8Array, mode: number): Promise<void> {
  const handle = await files.open(path, "wx", mode);
  try {
    await handle.writeFile(data);
    await handle.chmod(mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Fails with FILE_UNWRITABLE when the file is there already: a secret never lands in somebody else's file. */
export async function writeNewFile(path: string, text: string, options: { mode: number }): Promise<void> {
  try {
    await writeDurable(path, Buffer.from(text), options.mode);
  } catch (error) {
    const code = systemErrorCode(error);
    const hint = code === "EEXIST" ? { hint: "name a file that does not exist yet" } : {};
    throw hostError("FILE_UNWRITABLE", { detail: `${path} (${code ?? "unknown"})`, ...hint, cause: error });
  }
}

/** Makes a rename or a new name in the folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await files.open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
