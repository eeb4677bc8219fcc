/** A key-encryption key in a file of mode 0600: for one machine, and to try things; a KMS keeps it better. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { concatBytes, fromHex, parseJson, type Random, toHex, utf8, wipe } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import { files, GuardedBytes, processInfo, readFileBounded, writeFileAtomic } from "../host/index.ts";
import { backendError } from "./errors.ts";
import type { KeyWrapper, WrapContext, WrappedKey } from "./key-wrapper.ts";

const FORMAT = "modelkeep-kek-v1";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const MAX_FILE_BYTES = 64 * 1024;
const MAX_WRAPPED_BYTES = 1_024;

const schema = z.strictObject({
  format: z.literal(FORMAT),
  key_id: z.string().regex(/^[0-9a-f]{32}$/),
  /** The last one wraps; all unwrap. */
  versions: z
    .array(z.strictObject({ version: z.string().regex(/^\d{1,6}$/), key: z.string().regex(/^[0-9a-f]{64}$/) }))
    .min(1)
    .max(1_000),
});

/** Makes the file; one that is there is left as it is and said so by `false`. */
export async function createKeyFile(uri: string, random: Random): Promise<boolean> {
  const path = fileURLToPath(uri);
  if (await files.lstat(path).catch(() => undefined)) return false;
  await files.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const text = utf8(
    `${JSON.stringify({ format: FORMAT, key_id: toHex(random.bytes(16)), versions: [{ version: "1", key: toHex(random.bytes(KEY_BYTES)) }] })}\n`,
  );
  await writeFileAtomic(path, text, { mode: 0o600 });
  wipe(text);
  return true;
}

export async function openKeyFile(uri: string, random: Random): Promise<KeyWrapper> {
  const path = fileURLToPath(uri);
  await checkMode(path);
  const text = await readFileBounded(path, MAX_FILE_BYTES);
  const parsed = schema.safeParse(parseJson(text, { what: path }));
  wipe(text);
  if (!parsed.success) throw backendError("KMS_KEY_INVALID", { detail: `${path} is not a ${FORMAT} file` });
  const { key_id: keyId, versions } = parsed.data;
  const keys = new Map(
    versions.map(({ version, key }) => [version, GuardedBytes.take(fromHex(key) ?? new Uint8Array(KEY_BYTES))]),
  );
  return new KeyFile({ uri, keyId, keys, current: versions.at(-1)?.version ?? "1", random });
}

async function checkMode(path: string): Promise<void> {
  const stat = await files.lstat(path).catch(() => undefined);
  if (!stat) throw backendError("KMS_KEY_MISSING", { detail: path, hint: `modelkeep key create --kek ${path}` });
  const { uid } = processInfo();
  if (!stat.isFile()) throw backendError("KMS_KEY_INVALID", { detail: `${path} is not a regular file` });
  if ((stat.mode & 0o077) !== 0)
    throw backendError("KMS_KEY_INVALID", { detail: `${path} may be read by others`, hint: `chmod 600 ${path}` });
  if (uid !== -1 && stat.uid !== uid)
    throw backendError("KMS_KEY_INVALID", { detail: `${path} belongs to another user` });
}

interface KeyFileParts {
  readonly uri: string;
  readonly keyId: string;
  readonly keys: ReadonlyMap<string, GuardedBytes>;
  readonly current: string;
  readonly random: Random;
}

class KeyFile implements KeyWrapper {
  readonly uri: string;
  readonly #parts: KeyFileParts;

  constructor(parts: KeyFileParts) {
    this.uri = parts.uri;
    this.#parts = parts;
  }

  async wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey> {
    if (key.length === 0 || key.length > MAX_WRAPPED_BYTES)
      throw new RangeError(`a key to wrap has 1 to ${MAX_WRAPPED_BYTES} bytes`);
    const { current, keyId, random } = this.#parts;
    const nonce = random.bytes(NONCE_BYTES);
    const ciphertext = this.#key(current).use((kek) => {
      const cipher = createCipheriv("aes-256-gcm", kek, nonce);
      cipher.setAAD(this.#aad(current, context));
      return concatBytes(nonce, cipher.update(key), cipher.final(), cipher.getAuthTag());
    });
    return { kms: this.uri, keyId, keyVersion: current, ciphertext };
  }

  async unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array> {
    const { ciphertext, keyVersion } = wrapped;
    const wrongKey = wrapped.keyId !== this.#parts.keyId || !this.#parts.keys.has(keyVersion);
    if (wrongKey || ciphertext.length <= NONCE_BYTES + TAG_BYTES || ciphertext.length > MAX_WRAPPED_BYTES + 64)
      throw backendError("UNWRAP_FAILED");
    return this.#key(keyVersion).use((kek) => {
      const decipher = createDecipheriv("aes-256-gcm", kek, ciphertext.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(this.#aad(keyVersion, context));
      decipher.setAuthTag(ciphertext.subarray(ciphertext.length - TAG_BYTES));
      const plain = decipher.update(ciphertext.subarray(NONCE_BYTES, ciphertext.length - TAG_BYTES));
      try {
        decipher.final();
      } catch {
        plain.fill(0);
        throw backendError("UNWRAP_FAILED");
      }
      return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
    });
  }

  #key(version: string): GuardedBytes {
    const key = this.#parts.keys.get(version);
    if (!key) throw backendError("UNWRAP_FAILED");
    return key;
  }

  #aad(version: string, context: WrapContext): Uint8Array {
    return jcs({ format: FORMAT, key_id: this.#parts.keyId, key_version: version, context });
  }
}
