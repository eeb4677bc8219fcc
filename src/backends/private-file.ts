/** A credential in a file: refused when another user may read it. */
import { copySecret, wipe } from "../base/index.ts";
import { files, fsSync, GuardedBytes, systemErrorCode } from "../host/index.ts";
import { backendError } from "./errors.ts";
import { BACKEND_LIMITS } from "./limits.ts";

export interface CredentialFileOptions {
  /** For what a platform writes and exchanges often, such as the token of a service account. */
  readonly mayBeOpenToOthers?: boolean;
}

/** Throws KMS_CREDENTIALS_MISSING for a file that is not there, not regular, open to others, or too large. */
export async function readCredentialFile(
  path: string,
  maxBytes: number,
  options: CredentialFileOptions = {},
): Promise<Uint8Array> {
  const handle = await files.open(path, fsSync.constants.O_RDONLY | fsSync.constants.O_NONBLOCK).catch((error) => {
    throw backendError("KMS_CREDENTIALS_MISSING", { detail: `${path} (${systemErrorCode(error) ?? "unknown"})` });
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw backendError("KMS_CREDENTIALS_MISSING", { detail: `${path} is not a regular file` });
    if (!options.mayBeOpenToOthers && (stat.mode & 0o077) !== 0)
      throw backendError("KMS_CREDENTIALS_MISSING", { detail: `${path} is open to others`, hint: `chmod 600 ${path}` });
    if (stat.size > maxBytes)
      throw backendError("KMS_CREDENTIALS_MISSING", { detail: `${path} is over ${maxBytes} bytes` });
    const buffer = Buffer.alloc(stat.size);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** One secret in a file of its own, the line's end left off. */
export async function readSecretFile(path: string, options: CredentialFileOptions = {}): Promise<GuardedBytes> {
  const text = await readCredentialFile(path, BACKEND_LIMITS.credentialFileBytes, options);
  try {
    return guardSecret(text, path);
  } finally {
    wipe(text);
  }
}

export function guardSecret(text: Uint8Array, where: string): GuardedBytes {
  let end = text.length;
  while (end > 0 && [0x0a, 0x0d, 0x20].includes(text[end - 1] ?? 0)) end--;
  const plain = text.subarray(0, end).every((byte) => byte > 0x20 && byte < 0x7f);
  if (end === 0 || !plain) throw backendError("KMS_CREDENTIALS_MISSING", { detail: `${where} holds no credential` });
  return GuardedBytes.take(copySecret(text.subarray(0, end)));
}

/** A header's value: a string for the time of one request, since that is what HTTP clients take. */
export function revealText(secret: GuardedBytes): string {
  return secret.use((bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1"));
}
