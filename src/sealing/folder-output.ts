/** Opens a sealed model into a folder that appears whole and verified, or not at all. */
import { dirname, join } from "node:path";
import { type ModelkeepError, toHex } from "../base/index.ts";
import { files, systemErrorCode } from "../host/index.ts";
import { sealingError } from "./errors.ts";
import { discardLeftovers, UNVERIFIED } from "./leftovers.ts";
import { type ModelSink, type OpenWithKmsOptions, openWithKms, type VerifiedSeal } from "./open.ts";

/**
 * `output` must not be there yet: it is made with mode 0700, its files with 0600. Until everything is verified the
 * plaintext lies in a folder beside it, which is removed on failure, or by the next opening into the same output. Throws OUTPUT_EXISTS, OUTPUT_UNWRITABLE, and what
 * `openWithKms` throws.
 */
export async function openIntoFolder(options: Omit<OpenWithKmsOptions, "into">, output: string): Promise<VerifiedSeal> {
  if (await files.lstat(output).catch(() => undefined)) throw sealingError("OUTPUT_EXISTS", { detail: output });
  await discardLeftovers(output);
  const temporary = `${output}${UNVERIFIED}${toHex(options.random.bytes(8))}`;
  await writing(temporary, () => files.mkdir(temporary, { mode: 0o700 }));
  try {
    const seal = await openWithKms({ ...options, into: folderSink(temporary) });
    await writing(output, () => files.rename(temporary, output));
    return seal;
  } catch (error) {
    await files.rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** Files of mode 0600 below `root`, each new. */
function folderSink(root: string): ModelSink {
  return {
    async open(path) {
      const place = join(root, path);
      await writing(place, () => makeFolders(root, dirname(path)));
      const handle = await writing(place, () => files.open(place, "wx", 0o600));
      return {
        write: (chunk) => writing(place, () => handle.writeFile(chunk)),
        close: () => handle.close(),
        local: { descriptor: handle.fd, error: (code) => unwritable(place, code) },
      };
    },
  };
}

/** Never `root` itself: where that is gone, what was written into it is gone too. */
async function makeFolders(root: string, folder: string): Promise<void> {
  if (folder === ".") return;
  await makeFolders(root, dirname(folder));
  try {
    await files.mkdir(join(root, folder), { mode: 0o700 });
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  }
}

async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw unwritable(path, systemErrorCode(error), error);
  }
}

function unwritable(path: string, code = "unknown", cause?: unknown): ModelkeepError {
  return sealingError("OUTPUT_UNWRITABLE", { detail: `${path} (${code})`, cause });
}
