/** A blob store in a folder: names are relative paths, writes are atomic and durable. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { baseError } from "../base/index.ts";
import { files, fsSync, processInfo, syncFolder, systemErrorCode } from "../host/index.ts";
import type { BlobStat, BlobStore } from "./blob-store.ts";
import { artifactError } from "./errors.ts";
import { ARTIFACT_LIMITS } from "./limits.ts";
import { compareCodePoints } from "./walk.ts";

const NAME = /^[A-Za-z0-9@+_-][A-Za-z0-9@+._-]*(\/[A-Za-z0-9@+_-][A-Za-z0-9@+._-]*)*$/;
const TEMPORARY = ".tmp-";

export class FolderStore implements BlobStore {
  readonly uri: string;
  readonly #root: string;
  #writes = 0;

  constructor(uri: string) {
    this.uri = uri;
    this.#root = fileURLToPath(uri);
  }

  async stat(name: string): Promise<BlobStat | undefined> {
    const stat = await files.lstat(this.#path(name)).catch(() => undefined);
    return stat?.isFile() ? { bytes: stat.size } : undefined;
  }

  async read(name: string, start: number, end: number): Promise<Uint8Array> {
    const handle = await this.#open(name);
    try {
      const buffer = Buffer.allocUnsafe(Math.max(0, end - start));
      let length = 0;
      while (length < buffer.length) {
        const { bytesRead } = await handle.read(buffer, length, buffer.length - length, start + length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return buffer.subarray(0, length);
    } finally {
      await handle.close();
    }
  }

  async readAll(name: string, maxBytes: number): Promise<Uint8Array> {
    const bytes = await this.read(name, 0, maxBytes + 1);
    if (bytes.length > maxBytes) throw baseError("LIMIT_EXCEEDED", { detail: `${name} is over ${maxBytes} bytes` });
    return bytes;
  }

  async write(name: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<BlobStat> {
    const path = this.#path(name);
    const folder = dirname(path);
    const temporary = join(folder, `${TEMPORARY}${processInfo().pid}-${++this.#writes}`);
    try {
      await files.mkdir(folder, { recursive: true });
      const bytes = await writeDurable(temporary, chunks);
      await files.rename(temporary, path);
      await syncFolder(folder);
      return { bytes };
    } catch (error) {
      await files.rm(temporary, { force: true }).catch(() => undefined);
      const code = systemErrorCode(error);
      throw code?.startsWith("E") && error instanceof Error && error.name !== "ModelkeepError"
        ? artifactError("STORE_UNWRITABLE", { detail: `${name} (${code})`, cause: error })
        : error;
    }
  }

  async delete(name: string): Promise<boolean> {
    try {
      await files.unlink(this.#path(name));
      return true;
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT") return false;
      throw error;
    }
  }

  async *list(prefix: string): AsyncGenerator<string> {
    const names = await listFolder(this.#root, "");
    for (const name of names.filter((candidate) => candidate.startsWith(prefix)).sort(compareCodePoints)) yield name;
  }

  async #open(name: string): Promise<files.FileHandle> {
    try {
      return await files.open(this.#path(name), fsSync.constants.O_RDONLY | fsSync.constants.O_NOFOLLOW);
    } catch (error) {
      throw artifactError("BLOB_NOT_FOUND", { detail: `${name} in ${this.uri}`, cause: error });
    }
  }

  #path(name: string): string {
    if (!NAME.test(name) || Buffer.byteLength(name) > ARTIFACT_LIMITS.blobNameBytes) {
      throw artifactError("BLOB_NAME_INVALID", { detail: JSON.stringify(name.slice(0, 80)) });
    }
    return join(this.#root, name);
  }
}

async function writeDurable(path: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<number> {
  const handle = await files.open(path, "wx", 0o644);
  try {
    let bytes = 0;
    for await (const chunk of chunks) {
      await handle.writeFile(chunk);
      bytes += chunk.length;
    }
    await handle.sync();
    return bytes;
  } finally {
    await handle.close();
  }
}

async function listFolder(root: string, folder: string): Promise<string[]> {
  const entries = await files.readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
  const nested = entries.map(async (entry) => {
    const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return listFolder(root, name);
    return entry.isFile() && !entry.name.startsWith(TEMPORARY) ? [name] : [];
  });
  return (await Promise.all(nested)).flat();
}
