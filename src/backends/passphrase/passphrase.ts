/** A key that a passphrase becomes by Argon2id: for a copy of a model that one person keeps; a KMS keeps a key better. */
import { argon2, createCipheriv, createDecipheriv } from "node:crypto";
import { concatBytes, copySecret, equalBytes, type Random, wipe } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import type { KeyWrapper, WrapContext, WrappedKey } from "../key-wrapper.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import type { BackendPorts, PassphraseSource } from "../ports.ts";
import {
  type Cost,
  isAffordable,
  type Parameters,
  parsePassphraseUri,
  readParameters,
  SALT_BYTES,
  writeParameters,
} from "./parameters.ts";

const FORMAT = "modelkeep-passphrase-v1";
const VERSION = "1";
const KEY_BYTES = 32;
const COMMITMENT_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const OVERHEAD_BYTES = COMMITMENT_BYTES + NONCE_BYTES + TAG_BYTES;

/** The passphrase is asked for when it is first needed. Throws KMS_URI_UNKNOWN, or KMS_CREDENTIALS_MISSING where nobody can be asked. */
export async function openPassphrase(uri: string, ports: BackendPorts): Promise<KeyWrapper> {
  const cost = parsePassphraseUri(uri);
  if (!ports.passphrase)
    throw backendError("KMS_CREDENTIALS_MISSING", {
      detail: "nobody can be asked for a passphrase here",
      hint: "a server opens models with a key of a KMS: modelkeep recipients add SEALED --kms URI",
    });
  return new Passphrase(cost, ports.random, ports.passphrase);
}

class Passphrase implements KeyWrapper {
  readonly uri = "passphrase:";
  readonly #cost: Cost;
  readonly #random: Random;
  readonly #source: PassphraseSource;
  #passphrase: GuardedBytes | undefined;

  constructor(cost: Cost, random: Random, source: PassphraseSource) {
    this.#cost = cost;
    this.#random = random;
    this.#source = source;
  }

  /** Every wrap by a passphrase: whether it is by this one is told by opening it. */
  recognises(wrapped: WrappedKey): boolean {
    return wrapped.keyVersion === VERSION && readParameters(wrapped.keyId) !== undefined;
  }

  async wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey> {
    if (key.length === 0 || key.length > BACKEND_LIMITS.wrappedKeyBytes)
      throw new RangeError(`a key to wrap has 1 to ${BACKEND_LIMITS.wrappedKeyBytes} bytes`);
    const parameters = { ...this.#cost, salt: this.#random.bytes(SALT_BYTES) };
    const keyId = writeParameters(parameters);
    const { kek, commitment } = await this.#derive("wrap", parameters);
    try {
      const nonce = this.#random.bytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", kek, nonce).setAAD(associated(keyId, context));
      const ciphertext = concatBytes(commitment, nonce, cipher.update(key), cipher.final(), cipher.getAuthTag());
      return { kms: this.uri, keyId, keyVersion: VERSION, ciphertext };
    } finally {
      wipe(kek);
    }
  }

  /** Parameters above the limits throw KMS_KEY_UNFIT. */
  async unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array> {
    const { ciphertext, keyId } = wrapped;
    const parameters = readParameters(keyId);
    const plainBytes = ciphertext.length - OVERHEAD_BYTES;
    if (!this.recognises(wrapped) || !parameters || plainBytes < 1 || plainBytes > BACKEND_LIMITS.wrappedKeyBytes)
      throw backendError("UNWRAP_FAILED");
    if (!isAffordable(parameters))
      throw backendError("KMS_KEY_UNFIT", { detail: "its passphrase asks for more memory or passes than is given" });
    const { kek, commitment } = await this.#derive("unwrap", parameters);
    try {
      const committed = equalBytes(commitment, ciphertext.subarray(0, COMMITMENT_BYTES));
      const sealed = ciphertext.subarray(COMMITMENT_BYTES);
      const key = committed ? openSealed(kek, sealed, associated(keyId, context)) : undefined;
      if (key) return key;
    } finally {
      wipe(kek);
    }
    throw backendError("UNWRAP_FAILED", { hint: "is it the passphrase that this model was sealed with?" });
  }

  /**
   * Half of what Argon2id gives is the key, the other half stands in the wrap: AES-GCM alone lets somebody make one
   * text that opens under many passphrases, and try them all at once on who opens it.
   */
  async #derive(use: "wrap" | "unwrap", parameters: Parameters): Promise<{ kek: Uint8Array; commitment: Uint8Array }> {
    const message = (await this.#opened(use)).use(copySecret);
    try {
      const bytes = await argon2id(message, parameters);
      const kek = copySecret(bytes.subarray(0, KEY_BYTES));
      const commitment = copySecret(bytes.subarray(KEY_BYTES));
      wipe(bytes);
      return { kek, commitment };
    } finally {
      wipe(message);
    }
  }

  async #opened(use: "wrap" | "unwrap"): Promise<GuardedBytes> {
    if (this.#passphrase) return this.#passphrase;
    const given = await this.#source(use);
    if (given.length === 0 || given.length > BACKEND_LIMITS.passphraseBytes) {
      wipe(given);
      throw backendError("KMS_CREDENTIALS_MISSING", {
        detail: `a passphrase has 1 to ${BACKEND_LIMITS.passphraseBytes} bytes`,
        hint: "type it, or name its file: --passphrase-file FILE",
      });
    }
    this.#passphrase = GuardedBytes.take(given);
    return this.#passphrase;
  }
}

function argon2id(message: Uint8Array, { memoryKib, passes, lanes, salt }: Parameters): Promise<Uint8Array> {
  const cost = { memory: memoryKib, passes, parallelism: lanes };
  const tagLength = KEY_BYTES + COMMITMENT_BYTES;
  return new Promise((resolve, reject) => {
    argon2("argon2id", { message, nonce: salt, tagLength, ...cost }, (error, bytes) => {
      if (error) reject(backendError("KMS_KEY_UNFIT", { detail: `Argon2id with ${memoryKib} KiB does not run here` }));
      else resolve(bytes);
    });
  });
}

function openSealed(kek: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array | undefined {
  const decipher = createDecipheriv("aes-256-gcm", kek, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(aad).setAuthTag(sealed.subarray(-TAG_BYTES));
  const key = copySecret(decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)));
  try {
    decipher.final();
    return key;
  } catch {
    wipe(key);
    return undefined;
  }
}

function associated(keyId: string, context: WrapContext): Uint8Array {
  return jcs({ format: FORMAT, key_id: keyId, key_version: VERSION, context });
}
