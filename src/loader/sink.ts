/** Writes checked plaintext into the memory file system: files of mode 0400 in folders of mode 0500. */
import { dirname, join } from "node:path";
import type { ModelkeepError } from "../base/index.ts";
import { files, systemErrorCode } from "../host/index.ts";
import type { ModelSink } from "../sealing/index.ts";
import { loaderError } from "./errors.ts";

export interface FolderSink extends ModelSink {
  /** Takes the right to write from every folder, the root of the model included. */
  close(): Promise<void>;
}

/** `root` is an empty folder that nobody else can reach. Fails with MEMORY_TOO_SMALL or LOAD_FAILED. */
export function createFolderSink(root: string): FolderSink {
  const folders = new Set<string>();
  return {
    async open(path, bytes) {
      const folder = dirname(path);
      const handle = await translated(path, async () => {
        await files.mkdir(join(root, folder), { recursive: true, mode: 0o700 });
        for (let up = folder; up !== "."; up = dirname(up)) folders.add(up);
        return openNew(join(root, path), bytes);
      });
      return {
        write: (chunk) => translated(path, () => handle.writeFile(chunk)),
        close: () => handle.close(),
        local: { descriptor: handle.fd, error: (code) => failed(path, code) },
      };
    },
    async close() {
      for (const folder of [...folders, "."]) await files.chmod(join(root, folder), 0o500);
    },
  };
}

/** The length comes first, so that the kernel can take huge pages. */
async function openNew(path: string, bytes: number): Promise<files.FileHandle> {
  const handle = await files.open(path, "wx", 0o400);
  await handle.truncate(bytes);
  return handle;
}

async function translated<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw failed(path, systemErrorCode(error), error);
  }
}

function failed(path: string, code = "unknown", cause?: unknown): ModelkeepError {
  const detail = `${path.slice(0, 200)} (${code})`;
  return loaderError(code === "ENOSPC" ? "MEMORY_TOO_SMALL" : "LOAD_FAILED", { detail, cause });
}
