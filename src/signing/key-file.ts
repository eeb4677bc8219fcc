/** A signing key in a file of this machine: refused when another user could have read it. */
import { wipe } from "../base/index.ts";
import { files, fsSync, systemErrorCode } from "../host/index.ts";
import { signingError } from "./errors.ts";
import { loadEcSigner, type ModelSigner } from "./keys.ts";
import { SIGNING_LIMITS } from "./limits.ts";

/** Throws SIGNING_KEY_EXPOSED for a file with any permission for group or others, else like `loadEcSigner`. */
export async function readSigningKey(path: string): Promise<ModelSigner> {
  const pem = await readPrivate(path);
  try {
    return loadEcSigner(pem);
  } finally {
    wipe(pem);
  }
}

async function readPrivate(path: string): Promise<Uint8Array> {
  const handle = await open(path);
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw signingError("SIGNING_KEY_INVALID", { detail: `${path} is not a regular file` });
    if ((stat.mode & 0o077) !== 0)
      throw signingError("SIGNING_KEY_EXPOSED", {
        detail: `${path} has mode ${(stat.mode & 0o777).toString(8)}`,
        hint: `chmod 600 ${path}`,
      });
    if (stat.size > SIGNING_LIMITS.keyFileBytes)
      throw signingError("SIGNING_KEY_INVALID", { detail: `${path} is over ${SIGNING_LIMITS.keyFileBytes} bytes` });
    const buffer = Buffer.alloc(stat.size);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function open(path: string): Promise<files.FileHandle> {
  try {
    return await files.open(path, fsSync.constants.O_RDONLY | fsSync.constants.O_NONBLOCK);
  } catch (error) {
    throw signingError("SIGNING_KEY_INVALID", {
      detail: `${path} (${systemErrorCode(error) ?? "unknown"})`,
      cause: error,
    });
  }
}
