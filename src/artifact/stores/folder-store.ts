/** A blob store in a folder: names are relative paths, writes are atomic and durable. */
import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";
import { storeError } from "../../backends/index.ts";
import { baseError, ModelkeepError } from "../../base/index.ts";
import { files, fsSync, syncFolder, systemErrorCode } from "../../host/index.ts";
import type { BlobChunks, BlobStat, BlobStore, LocalFile, OpenBlob, WriteOptions, WrittenBlob } from "../blob-store.ts";
import { artifactError } from "../errors.ts";
import { ARTIFACT_LIMITS } from "../limits.ts";
import { compareCodePoints } from "../walk.ts";
import { checkBlobName, isBlobName } from "./blob-name.ts";

/** No blob's name begins with a dot, so these are never taken for one. */
const TEMPORARY = ".tmp-";
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fsSync.constants;

/** Puts a blob into a new file; resolves to its bytes. */
type Fill = (handle: files.FileHandle) => Promise<number>;

export class FolderStore implements BlobStore {
  readonly uri: string;
  readonly #root: string;

  constructor(uri: string, root: string) {
    this.uri = uri;
    this.#root = root;
  }

  async stat(name: string): Promise<BlobStat | undefined> {
    try {
      const stat = await files.lstat(this.#path(name));
      return stat.isFile() ? { bytes: stat.size } : undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error instanceof ModelkeepError ? error : unreadable(name, error);
    }
  }

  async open(name: string): Promise<OpenBlob> {
    const handle = await this.#open(name);
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw artifactError("BLOB_NOT_FOUND", { detail: `${name} in ${this.uri}` });
      return {
        bytes: stat.size,
        read: (start, end, buffer) => readRange(handle, name, start, end, buffer),
        close: () => handle.close(),
        local: { descriptor: handle.fd, error: (code) => unreadable(name, code) },
      };
    } catch (error) {
      await handle.close();
      throw error instanceof ModelkeepError ? error : unreadable(name, error);
    }
  }

  async read(name: string, start: number, end: number): Promise<Uint8Array> {
    const blob = await this.open(name);
    return blob.read(start, end).finally(() => blob.close());
  }

  async readAll(name: string, maxBytes: number): Promise<Uint8Array> {
    const blob = await this.open(name);
    const bytes = await blob.read(0, Math.min(blob.bytes, maxBytes) + 1).finally(() => blob.close());
    if (bytes.length > maxBytes) throw baseError("LIMIT_EXCEEDED", { detail: `${name} is over ${maxBytes} bytes` });
    return bytes;
  }

  write(name: string, chunks: BlobChunks, options: WriteOptions = {}): Promise<WrittenBlob> {
    return this.#replace(name, (handle) => writeChunks(handle, chunks), options);
  }

  writeLocal(name: string, fill: (file: LocalFile) => Promise<void>): Promise<WrittenBlob> {
    const filled = async (handle: files.FileHandle) => {
      await fill({ descriptor: handle.fd, error: (code) => unwritable(name, code) });
      return (await handle.stat()).size;
    };
    return this.#replace(name, filled, {});
  }

  async #replace(name: string, fill: Fill, options: WriteOptions): Promise<WrittenBlob> {
    const path = this.#path(name);
    const folder = dirname(path);
    const temporary = join(folder, `${TEMPORARY}${randomUUID()}`);
    try {
      await makeFolder(folder);
      const bytes = await writeDurable(temporary, fill);
      await (options.absent ? placeNew(temporary, path, name) : files.rename(temporary, path));
      await syncFolder(folder);
      return { bytes, confirmed: false };
    } catch (error) {
      await files.rm(temporary, { force: true }).catch(() => undefined);
      const code = systemErrorCode(error);
      if (error instanceof ModelkeepError || code === undefined || code.startsWith("ERR_")) throw error;
      throw unwritable(name, code, error);
    }
  }

  async delete(name: string): Promise<boolean> {
    const path = this.#path(name);
    try {
      await files.unlink(path);
      await syncFolder(dirname(path));
      return true;
    } catch (error) {
      if (isAbsent(error)) return false;
      throw unwritable(name, systemErrorCode(error), error);
    }
  }

  async *list(prefix: string): AsyncGenerator<string> {
    const names = (await listFolder(this.#root, prefix)).filter((name) => name.startsWith(prefix) && isBlobName(name));
    yield* names.sort(compareCodePoints);
  }

  async discardUnfinished(prefix: string): Promise<void> {
    for (const name of await listFolder(this.#root, prefix)) {
      const isTemporary = name.slice(name.lastIndexOf("/") + 1).startsWith(TEMPORARY);
      if (isTemporary && name.startsWith(prefix)) await files.rm(join(this.#root, name), { force: true });
    }
  }

  async #open(name: string): Promise<files.FileHandle> {
    const path = this.#path(name);
    try {
      return await files.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    } catch (error) {
      if (isAbsent(error) || systemErrorCode(error) === "ELOOP")
        throw artifactError("BLOB_NOT_FOUND", { detail: `${name} in ${this.uri}`, cause: error });
      throw unreadable(name, error);
    }
  }

  #path(name: string): string {
    return join(this.#root, checkBlobName(name));
  }
}

function isAbsent(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** By a system error, or its code. */
function unreadable(name: string, error: unknown): ModelkeepError {
  const code = typeof error === "string" ? error : (systemErrorCode(error) ?? "unknown");
  return artifactError("STORE_UNREADABLE", { detail: `${name} (${code})`, cause: error });
}

function unwritable(name: string, code = "unknown", cause?: unknown): ModelkeepError {
  return artifactError("STORE_UNWRITABLE", { detail: `${name} (${code})`, cause });
}

async function readRange(
  handle: files.FileHandle,
  name: string,
  start: number,
  end: number,
  given?: Uint8Array,
): Promise<Uint8Array> {
  const wanted = Math.max(0, end - start);
  const buffer = given && given.length >= wanted ? given : Buffer.allocUnsafeSlow(wanted);
  let length = 0;
  try {
    while (length < wanted) {
      const { bytesRead } = await handle.read(buffer, length, wanted - length, start + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
  } catch (error) {
    throw unreadable(name, error);
  }
  return buffer.subarray(0, length);
}

/** What file systems say that know one name of a file only: there two writers at the same moment may both be first. */
const WITHOUT_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/** A second name fails where a rename would replace. */
async function placeNew(temporary: string, path: string, name: string): Promise<void> {
  try {
    await files.link(temporary, path);
  } catch (error) {
    const code = systemErrorCode(error) ?? "";
    const isThere = code === "EEXIST" || (await files.lstat(path).then(Boolean, () => false));
    if (isThere) throw storeError("BLOB_EXISTS", { detail: name });
    if (!WITHOUT_LINKS.has(code)) throw error;
    return files.rename(temporary, path);
  }
  await files.rm(temporary);
}

/** Makes the folder and what leads to it; each new name is durable in its parent. */
async function makeFolder(path: string): Promise<void> {
  const first = await files.mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) await syncFolder(dirname(folder));
}

async function writeDurable(path: string, fill: Fill): Promise<number> {
  const handle = await files.open(path, "wx", 0o644);
  try {
    const bytes = await fill(handle);
    await handle.sync();
    return bytes;
  } finally {
    await handle.close();
  }
}

/** Writes in large pieces, and asks for the next chunks while the last ones are on their way to the disk. */
async function writeChunks(handle: files.FileHandle, chunks: BlobChunks): Promise<number> {
  let writing: Promise<void> = Promise.resolve();
  try {
    let bytes = 0;
    let batch: Uint8Array[] = [];
    let waiting = 0;
    for await (const chunk of chunks) {
      batch.push(chunk);
      waiting += chunk.length;
      bytes += chunk.length;
      if (waiting < ARTIFACT_LIMITS.chunkBytes) continue;
      await writing;
      writing = writeAll(handle, batch);
      writing.catch(() => undefined);
      batch = [];
      waiting = 0;
    }
    await writing;
    await writeAll(handle, batch);
    return bytes;
  } finally {
    await writing.catch(() => undefined);
  }
}

async function writeAll(handle: files.FileHandle, parts: readonly Uint8Array[]): Promise<void> {
  let rest = parts.filter(({ length }) => length > 0);
  while (rest.length > 0) {
    let { bytesWritten } = await handle.writev(rest);
    rest = rest.flatMap((part) => {
      const done = Math.min(part.length, bytesWritten);
      bytesWritten -= done;
      return done < part.length ? [part.subarray(done)] : [];
    });
  }
}

/** Folders in which no name can begin with the prefix are left out. */
async function listFolder(root: string, prefix: string, folder = "", depth = 0): Promise<string[]> {
  if (depth > ARTIFACT_LIMITS.depth)
    throw baseError("LIMIT_EXCEEDED", { detail: `folders are nested deeper than ${ARTIFACT_LIMITS.depth}` });
  const names: string[] = [];
  for (const entry of await readFolder(join(root, folder))) {
    const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
    const mayHold = `${name}/`.startsWith(prefix) || prefix.startsWith(`${name}/`);
    if (entry.isDirectory() && mayHold)
      for (const inner of await listFolder(root, prefix, name, depth + 1)) names.push(inner);
    else if (entry.isFile()) names.push(name);
  }
  return names;
}

async function readFolder(path: string) {
  try {
    return await files.readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isAbsent(error)) return [];
    throw unreadable(path, error);
  }
}
