/** A key-encryption key in a file of mode 0600: for one machine, and to try things; a KMS keeps it better. */
import { createCipheriv, createDecipheriv, type DecipherGCM } from "node:crypto";
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { concatBytes, type Random, toHex, wipe } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import { files, fsSync, type GuardedBytes, processInfo, syncFolder, systemErrorCode } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import type { KeyWrapper, WrapContext, WrappedKey } from "../key-wrapper.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { KEY_BYTES, KEY_FILE_FORMAT, type KeyFileContent, keyFileText, parseKeyFile } from "./format.ts";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const MAX_CIPHERTEXT_BYTES = BACKEND_LIMITS.wrappedKeyBytes + NONCE_BYTES + TAG_BYTES;

/**
 * Makes the file with a fresh key; one that is there is left as it is, and `false` says so. Two that run at once make
 * one key: the file is written aside and linked into place. Throws KMS_KEY_UNWRITABLE.
 */
export async function createKeyFile(uri: string, random: Random): Promise<boolean> {
  const path = pathOf(uri);
  if (await files.lstat(path).catch(() => undefined)) return false;
  const key = random.bytes(KEY_BYTES);
  const text = keyFileText(toHex(random.bytes(16)), "1", key);
  wipe(key);
  try {
    return await linkIntoPlace(path, text, toHex(random.bytes(8)));
  } catch (error) {
    throw backendError("KMS_KEY_UNWRITABLE", {
      detail: `${path} (${systemErrorCode(error) ?? "unknown"})`,
      cause: error,
    });
  } finally {
    wipe(text);
  }
}

async function linkIntoPlace(path: string, text: Uint8Array, suffix: string): Promise<boolean> {
  await files.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const aside = `${path}.${suffix}.new`;
  const handle = await files.open(aside, "wx", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await files.link(aside, path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return false;
    throw error;
  } finally {
    await files.rm(aside, { force: true });
    await syncFolder(dirname(path));
  }
}

/** Never makes a key: throws KMS_KEY_MISSING, or KMS_KEY_INVALID for a file that others may read or that is damaged. */
export async function openKeyFile(uri: string, random: Random): Promise<KeyWrapper> {
  const path = pathOf(uri);
  const text = await readPrivateFile(path);
  const content = parseKeyFile(text);
  wipe(text);
  if (!content) throw backendError("KMS_KEY_INVALID", { detail: `${path} is not a ${KEY_FILE_FORMAT} file` });
  return new KeyFile(pathToFileURL(path).href, content, random);
}

function pathOf(uri: string): string {
  try {
    const path = fileURLToPath(uri);
    if (!path.includes("\0")) return path;
  } catch {}
  throw backendError("KMS_URI_UNKNOWN", { detail: "it names no file" });
}

/** Mode and owner are those of the file that is read, not of one that was there before. */
async function readPrivateFile(path: string): Promise<Uint8Array> {
  const handle = await openFile(path);
  try {
    const stat = await handle.stat();
    const { uid } = processInfo();
    if (!stat.isFile()) throw backendError("KMS_KEY_INVALID", { detail: `${path} is not a regular file` });
    if ((stat.mode & 0o077) !== 0)
      throw backendError("KMS_KEY_INVALID", { detail: `${path} is open to others`, hint: `chmod 600 ${path}` });
    if (uid !== -1 && stat.uid !== uid)
      throw backendError("KMS_KEY_INVALID", {
        detail: `${path} belongs to another user`,
        hint: `chown ${uid} ${path}`,
      });
    if (stat.size > BACKEND_LIMITS.keyFileBytes)
      throw backendError("KMS_KEY_INVALID", { detail: `${path} is over ${BACKEND_LIMITS.keyFileBytes} bytes` });
    const buffer = Buffer.alloc(stat.size);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function openFile(path: string): Promise<files.FileHandle> {
  try {
    return await files.open(path, fsSync.constants.O_RDONLY | fsSync.constants.O_NONBLOCK);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT")
      throw backendError("KMS_KEY_MISSING", { detail: path, hint: `modelkeep kms init ${pathToFileURL(path).href}` });
    throw backendError("KMS_KEY_INVALID", { detail: `${path} (${code ?? "unknown"})`, cause: error });
  }
}

class KeyFile implements KeyWrapper {
  readonly uri: string;
  readonly #content: KeyFileContent;
  readonly #current: string;
  readonly #random: Random;

  constructor(uri: string, content: KeyFileContent, random: Random) {
    this.uri = uri;
    this.#content = content;
    this.#current = [...content.keys.keys()].at(-1) ?? "";
    this.#random = random;
  }

  recognises(wrapped: WrappedKey): boolean {
    return wrapped.keyId === this.#content.keyId && this.#content.keys.has(wrapped.keyVersion);
  }

  async wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey> {
    if (key.length === 0 || key.length > BACKEND_LIMITS.wrappedKeyBytes)
      throw new RangeError(`a key to wrap has 1 to ${BACKEND_LIMITS.wrappedKeyBytes} bytes`);
    const nonce = this.#random.bytes(NONCE_BYTES);
    const ciphertext = this.#key(this.#current).use((kek) => {
      const cipher = createCipheriv("aes-256-gcm", kek, nonce);
      cipher.setAAD(this.#aad(this.#current, context));
      return concatBytes(nonce, cipher.update(key), cipher.final(), cipher.getAuthTag());
    });
    return { kms: this.uri, keyId: this.#content.keyId, keyVersion: this.#current, ciphertext };
  }

  async unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array> {
    const { ciphertext, keyVersion } = wrapped;
    const wrongLength = ciphertext.length <= NONCE_BYTES + TAG_BYTES || ciphertext.length > MAX_CIPHERTEXT_BYTES;
    if (!this.recognises(wrapped) || wrongLength) throw backendError("UNWRAP_FAILED");
    return this.#key(keyVersion).use((kek) => {
      const nonce = ciphertext.subarray(0, NONCE_BYTES);
      const decipher = createDecipheriv("aes-256-gcm", kek, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(this.#aad(keyVersion, context));
      decipher.setAuthTag(ciphertext.subarray(ciphertext.length - TAG_BYTES));
      const plain = openBytewise(decipher, ciphertext.subarray(NONCE_BYTES, ciphertext.length - TAG_BYTES));
      try {
        decipher.final();
      } catch {
        plain.fill(0);
        throw backendError("UNWRAP_FAILED");
      }
      return plain;
    });
  }

  #key(version: string): GuardedBytes {
    const key = this.#content.keys.get(version);
    if (!key) throw backendError("UNWRAP_FAILED");
    return key;
  }

  #aad(version: string, context: WrapContext): Uint8Array {
    return jcs({ format: KEY_FILE_FORMAT, key_id: this.#content.keyId, key_version: version, context });
  }
}

/**
 * node:crypto gives its output from a buffer that is larger by a block and is then freed as it is: a piece of the key
 * would stay in the heap. Byte by byte no piece is longer than one.
 */
function openBytewise(decipher: DecipherGCM, ciphertext: Uint8Array): Uint8Array {
  const plain = new Uint8Array(new ArrayBuffer(ciphertext.length));
  for (const [at, byte] of ciphertext.entries()) {
    const one = decipher.update(Uint8Array.of(byte));
    plain.set(one, at);
    one.fill(0);
  }
  return plain;
}
