/** Keys of the transit engine of Vault and OpenBao: wrap, unwrap and sign by HTTP. */

import { createHash } from "node:crypto";
import { z } from "zod";
import { concatBytes, copySecret, equalBytes, fromBase64, toBase64, utf8, wipe } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import { backendError } from "../errors.ts";
import type { HttpAnswer } from "../http-service.ts";
import type { KeyWrapper, WrapContext, WrappedKey } from "../key-wrapper.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { type BackendPorts, fullPorts } from "../ports.ts";
import { jsonWithBase64, readAnswer, takeBase64 } from "../secret-json.ts";
import { ecPublicPem, type SigningBackend, type SigningHash } from "../signing-backend.ts";
import { isVaultTokenOver, VaultConnection, vaultWordsOf } from "./connection.ts";
import { parseVaultUri, type VaultKey } from "./uri.ts";

const WRAPPED = /^vault:v([1-9]\d{0,8}):([A-Za-z0-9+/]+={0,2})$/;
const TRANSIT_HASH: Readonly<Record<SigningHash, string>> = {
  sha256: "sha2-256",
  sha384: "sha2-384",
  sha512: "sha2-512",
};
/** Types that take associated data. */
const AEAD = /^(aes\d{3}-gcm96|x?chacha20-poly1305)$/;
const BINDING_BYTES = 32;

const keySchema = z.object({
  data: z.object({
    type: z.string().max(64),
    derived: z.boolean().optional(),
    supports_encryption: z.boolean().optional(),
    latest_version: z.number().int().min(1),
    keys: z.record(z.string().max(16), z.unknown()).nullish(),
  }),
});
const encryptSchema = z.object({ data: z.object({ ciphertext: z.string().max(BACKEND_LIMITS.ciphertextBytes) }) });
const signSchema = z.object({ data: z.object({ signature: z.string().max(2_048) }) });
const publicSchema = z.object({ public_key: z.string().max(4_096) });

type KeyInfo = z.output<typeof keySchema>["data"];

export async function openVaultWrapper(uri: string, ports: BackendPorts): Promise<KeyWrapper> {
  const client = await VaultClient.open(uri, ports);
  return new TransitWrapper(client, await client.derived());
}

export async function openVaultSigner(uri: string, ports: BackendPorts): Promise<SigningBackend> {
  return new TransitSigner(await VaultClient.open(uri, ports));
}

class TransitWrapper implements KeyWrapper {
  readonly uri: string;
  readonly #client: VaultClient;
  readonly #derived: boolean;
  readonly #keyId: string;

  constructor(client: VaultClient, derived: boolean) {
    const { uri, namespace, mount, key } = client.key;
    this.uri = uri;
    this.#client = client;
    this.#derived = derived;
    this.#keyId = [namespace, mount, key].filter((part) => part !== undefined).join("/");
  }

  /** By namespace, mount and name: Vault gives its keys no id, and its address may change. */
  recognises(wrapped: WrappedKey): boolean {
    return wrapped.keyId === this.#keyId && /^[1-9]\d{0,8}$/.test(wrapped.keyVersion);
  }

  /**
   * The context is bound as associated data, and its hash goes before the key: versions of Vault before 1.9 take the
   * parameter and forget it.
   */
  async wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey> {
    if (key.length === 0 || key.length > BACKEND_LIMITS.wrappedKeyBytes)
      throw new RangeError(`a key to wrap has 1 to ${BACKEND_LIMITS.wrappedKeyBytes} bytes`);
    const bound = concatBytes(bindingOf(context), key);
    const body = jsonWithBase64("plaintext", bound, this.#parameters(context));
    wipe(bound);
    const answer = await this.#client.post("encrypt", body);
    const { ciphertext } = readAnswer(answer, encryptSchema).data;
    const [, version, bytes] = WRAPPED.exec(ciphertext) ?? [];
    const decoded = bytes === undefined ? undefined : fromBase64(bytes);
    if (version === undefined || !decoded) throw backendError("KMS_ANSWER_INVALID", { detail: "the ciphertext" });
    return { kms: this.uri, keyId: this.#keyId, keyVersion: version, ciphertext: decoded };
  }

  async unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array> {
    const { ciphertext, keyVersion } = wrapped;
    if (!this.recognises(wrapped) || ciphertext.length === 0 || ciphertext.length > BACKEND_LIMITS.ciphertextBytes)
      throw backendError("UNWRAP_FAILED");
    const text = `vault:v${keyVersion}:${toBase64(ciphertext)}`;
    const body = utf8(JSON.stringify({ ciphertext: text, ...this.#parameters(context) }));
    const answer = await this.#client.post("decrypt", body, (detail) =>
      backendError("UNWRAP_FAILED", detail.includes("too old") ? { detail: "its key version is archived" } : {}),
    );
    const { secret } = takeBase64(answer.body, "plaintext");
    const key = copySecret(secret.subarray(BINDING_BYTES));
    const fits = key.length > 0 && equalBytes(secret.subarray(0, BINDING_BYTES), bindingOf(context));
    wipe(secret);
    if (fits) return key;
    wipe(key);
    throw backendError("UNWRAP_FAILED");
  }

  #parameters(context: WrapContext): Record<string, string> {
    const text = toBase64(jcs(context));
    return { associated_data: text, ...(this.#derived ? { context: text } : {}) };
  }
}

class TransitSigner implements SigningBackend {
  readonly uri: string;
  readonly #client: VaultClient;
  #version: number | undefined;

  constructor(client: VaultClient) {
    this.uri = client.key.uri;
    this.#client = client;
  }

  /** Of the version that is the latest now; `sign` stays with it when the key is rotated in between. */
  async publicKeyPem(): Promise<string> {
    const info = await this.#client.info();
    const entry = publicSchema.safeParse(info.keys?.[String(info.latest_version)]);
    if (!entry.success || !info.type.startsWith("ecdsa-"))
      throw backendError("KMS_KEY_UNFIT", { detail: `${this.uri} is a ${info.type} key` });
    this.#version = info.latest_version;
    return ecPublicPem({ pem: entry.data.public_key });
  }

  async sign(digest: Uint8Array, hash: SigningHash): Promise<Uint8Array> {
    if (this.#version === undefined) await this.publicKeyPem();
    const request = {
      input: toBase64(digest),
      prehashed: true,
      hash_algorithm: TRANSIT_HASH[hash],
      marshaling_algorithm: "asn1",
      key_version: this.#version,
    };
    const answer = await this.#client.post("sign", utf8(JSON.stringify(request)));
    const [, version, bytes] = WRAPPED.exec(readAnswer(answer, signSchema).data.signature) ?? [];
    const signature = bytes === undefined ? undefined : fromBase64(bytes);
    if (!signature || version !== String(this.#version))
      throw backendError("KMS_ANSWER_INVALID", { detail: "the signature" });
    return signature;
  }
}

class VaultClient {
  readonly key: VaultKey;
  readonly #connection: VaultConnection;

  private constructor(key: VaultKey, connection: VaultConnection) {
    this.key = key;
    this.#connection = connection;
  }

  static async open(uri: string, given: BackendPorts): Promise<VaultClient> {
    const ports = fullPorts(given);
    const key = parseVaultUri(uri, ports.env);
    return new VaultClient(key, await VaultConnection.open(key, ports));
  }

  async info(): Promise<KeyInfo> {
    const answer = await this.#send("GET", `keys/${this.key.key}`, undefined);
    const error = this.#errorOf(answer);
    if (error) throw error;
    return readAnswer(answer, keySchema).data;
  }

  /** A key that may be used but not looked at is taken as not derived; its first use tells. */
  async derived(): Promise<boolean> {
    const answer = await this.#send("GET", `keys/${this.key.key}`, undefined);
    if (answer.status === 403) return false;
    const error = this.#errorOf(answer);
    if (error) throw error;
    const info = readAnswer(answer, keySchema).data;
    if (info.supports_encryption === false || !AEAD.test(info.type))
      throw backendError("KMS_KEY_UNFIT", { detail: `${this.key.uri} is a ${info.type} key` });
    return info.derived ?? false;
  }

  /** `refusal` makes the error of an answer 400, from Vault's own words. The body is wiped. */
  async post(
    operation: "encrypt" | "decrypt" | "sign",
    body: Uint8Array,
    refusal?: (words: string) => Error,
  ): Promise<HttpAnswer> {
    try {
      const answer = await this.#send("POST", `${operation}/${this.key.key}`, body);
      const error = this.#errorOf(answer, refusal);
      if (error) throw error;
      return answer;
    } finally {
      wipe(body);
    }
  }

  #send(method: "GET" | "POST", path: string, body: Uint8Array | undefined): Promise<HttpAnswer> {
    return this.#connection.send({ method, path: `${this.key.mount}/${path}`, body });
  }

  #errorOf(answer: HttpAnswer, refusal?: (words: string) => Error): Error | undefined {
    if (answer.status === 200) return undefined;
    const words = vaultWordsOf(answer);
    const where = this.key.uri;
    const detail = `${where}, status ${answer.status}`;
    // Vault answers 404 for a mount that is not there.
    if (isVaultTokenOver(answer, words)) return backendError("KMS_CREDENTIALS_REFUSED", { detail });
    if (answer.status === 403) return backendError("KMS_DENIED", { detail });
    if (answer.status === 404 || /encryption key not found|signing key not found|no handler for route/.test(words))
      return backendError("KMS_KEY_NOT_FOUND", { detail: where });
    if (answer.status === 429) return backendError("KMS_THROTTLED", { detail });
    if ([472, 473, 501, 503].includes(answer.status)) return backendError("KMS_SEALED", { detail });
    if (answer.status >= 500 && !/disabled|soft.?deleted/.test(words))
      return backendError("KMS_UNREACHABLE", { detail });
    if (/soft.?deleted|disabled/.test(words)) return backendError("KMS_KEY_DISABLED", { detail });
    if (/does not support|not supported|unsupported key type/.test(words))
      return backendError("KMS_KEY_UNFIT", { detail });
    return refusal?.(words) ?? backendError("KMS_REFUSED", { detail });
  }
}

function bindingOf(context: WrapContext): Uint8Array {
  return new Uint8Array(createHash("sha256").update(utf8("modelkeep wrap context v1\n")).update(jcs(context)).digest());
}
