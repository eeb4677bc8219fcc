/** Keys of Azure Key Vault and Managed HSM: wrap and unwrap by a key of one wrap alone, and sign. */
import { createPublicKey, type JsonWebKey } from "node:crypto";
import { z } from "zod";
import { fromBase64Url, ModelkeepError, type Random, toBase64Url, utf8, wipe } from "../../base/index.ts";
import { ecdsaDer } from "../ec-encoding.ts";
import { backendError } from "../errors.ts";
import type { KeyWrapper, WrapContext, WrappedKey } from "../key-wrapper.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import type { BackendPorts } from "../ports.ts";
import { jsonWithBase64Url, readAnswer, takeBase64Url } from "../secret-json.ts";
import { ecPublicPem, type SigningBackend, type SigningHash } from "../signing-backend.ts";
import { type Algorithm, KEK_BYTES, openUnder, packBlob, readBlob, sealUnder } from "./blob.ts";
import { AzureClient, type AzureKeyInfo } from "./client.ts";

const NONCE_BYTES = 12;
const VERSION = /^[0-9a-f]{32}$/;
const SIGN_ALGORITHM: Readonly<Record<SigningHash, string>> = { sha256: "ES256", sha384: "ES384", sha512: "ES512" };
const kidSchema = z.object({ kid: z.string().max(1_024) });
const valueSchema = z.object({ kid: z.string().max(1_024), value: z.string().max(4_096) });

export async function openAzureWrapper(uri: string, ports: BackendPorts): Promise<KeyWrapper> {
  const client = await AzureClient.open(uri, ports);
  try {
    algorithmOf(await client.info(), uri);
  } catch (error) {
    // A key that may be used but not looked at, or an older version of one that is disabled now, still unwraps.
    const code = error instanceof ModelkeepError ? error.code : "";
    if (code !== "KMS_DENIED" && code !== "KMS_KEY_DISABLED") throw error;
  }
  return new AzureWrapper(client, ports.random);
}

export async function openAzureSigner(uri: string, ports: BackendPorts): Promise<SigningBackend> {
  return new AzureSigner(await AzureClient.open(uri, ports));
}

class AzureWrapper implements KeyWrapper {
  readonly uri: string;
  readonly #client: AzureClient;
  readonly #random: Random;

  constructor(client: AzureClient, random: Random) {
    this.uri = client.key.uri;
    this.#client = client;
    this.#random = random;
  }

  /** By the vault's host and the key's name: names of vaults are given once in all of a cloud. */
  recognises(wrapped: WrappedKey): boolean {
    return wrapped.keyId === this.#client.keyId && VERSION.test(wrapped.keyVersion);
  }

  async wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey> {
    if (key.length === 0 || key.length > BACKEND_LIMITS.wrappedKeyBytes)
      throw new RangeError(`a key to wrap has 1 to ${BACKEND_LIMITS.wrappedKeyBytes} bytes`);
    const info = await this.#client.info();
    const algorithm = algorithmOf(info, this.uri);
    const { keyId } = this.#client;
    const binding = { algorithm, keyId, keyVersion: info.version, context };
    const kek = this.#random.bytes(KEK_BYTES);
    try {
      const sealed = sealUnder(kek, this.#random.bytes(NONCE_BYTES), key, binding);
      const body = jsonWithBase64Url("value", kek, { alg: algorithm });
      const answer = readAnswer(await this.#client.post("wrapkey", info.version, body), valueSchema);
      const wrappedKek = fromBase64Url(answer.value);
      this.#client.versionOf(answer.kid, info.version);
      if (!wrappedKek || wrappedKek.length <= KEK_BYTES) throw backendError("KMS_ANSWER_INVALID", { detail: "value" });
      const ciphertext = packBlob({ algorithm, wrappedKek, sealed });
      return { kms: this.uri, keyId, keyVersion: info.version, ciphertext };
    } finally {
      wipe(kek);
    }
  }

  async unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array> {
    const { ciphertext, keyId, keyVersion } = wrapped;
    const blob = ciphertext.length <= BACKEND_LIMITS.ciphertextBytes ? readBlob(ciphertext) : undefined;
    if (!this.recognises(wrapped) || !blob) throw backendError("UNWRAP_FAILED");
    const { algorithm, wrappedKek, sealed } = blob;
    const kek = await this.#unwrapKek(algorithm, keyVersion, wrappedKek);
    try {
      const fits = kek.length === KEK_BYTES;
      const key = fits ? openUnder(kek, sealed, { algorithm, keyId, keyVersion, context }) : undefined;
      if (key) return key;
      throw backendError("UNWRAP_FAILED");
    } finally {
      wipe(kek);
    }
  }

  async #unwrapKek(alg: Algorithm, version: string, wrappedKek: Uint8Array): Promise<Uint8Array> {
    const body = utf8(JSON.stringify({ alg, value: toBase64Url(wrappedKek) }));
    const answer = await this.#client.post("unwrapkey", version, body, () => backendError("UNWRAP_FAILED"));
    const { secret, rest } = takeBase64Url(answer.body, "value");
    const told = kidSchema.safeParse(rest);
    if (told.success) {
      this.#client.versionOf(told.data.kid, version);
      return secret;
    }
    wipe(secret);
    throw backendError("KMS_ANSWER_INVALID", { detail: "kid" });
  }
}

class AzureSigner implements SigningBackend {
  readonly uri: string;
  readonly #client: AzureClient;
  #version: string | undefined;

  constructor(client: AzureClient) {
    this.uri = client.key.uri;
    this.#client = client;
  }

  /** Of the version that is the latest now; `sign` stays with it. */
  async publicKeyPem(): Promise<string> {
    const info = await this.#client.info();
    const { kty, crv, x, y } = info;
    if (!kty.startsWith("EC") || info.key_ops?.includes("sign") === false)
      throw backendError("KMS_KEY_UNFIT", { detail: `${this.uri} is a ${kty} key that does not sign` });
    this.#version = info.version;
    return ecPublicPem({ spki: spkiOf({ kty: "EC", crv, x, y } as JsonWebKey, this.uri) });
  }

  async sign(digest: Uint8Array, hash: SigningHash): Promise<Uint8Array> {
    if (this.#version === undefined) await this.publicKeyPem();
    const version = this.#version ?? "";
    const body = utf8(JSON.stringify({ alg: SIGN_ALGORITHM[hash], value: toBase64Url(digest) }));
    const answer = readAnswer(await this.#client.post("sign", version, body), valueSchema);
    this.#client.versionOf(answer.kid, version);
    const signature = ecdsaDer(fromBase64Url(answer.value) ?? new Uint8Array(0));
    if (!signature) throw backendError("KMS_ANSWER_INVALID", { detail: "the signature" });
    return signature;
  }
}

/** Throws KMS_KEY_UNFIT for a key that does not wrap. */
function algorithmOf(info: AzureKeyInfo, uri: string): Algorithm {
  const wraps = info.key_ops === undefined || info.key_ops.includes("wrapKey");
  if (wraps && info.kty.startsWith("RSA")) return "RSA-OAEP-256";
  if (wraps && info.kty.startsWith("oct")) return "A256KW";
  throw backendError("KMS_KEY_UNFIT", { detail: `${uri} is a ${info.kty} key that does not wrap` });
}

function spkiOf(jwk: JsonWebKey, uri: string): Uint8Array {
  try {
    return new Uint8Array(createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "der" }));
  } catch {
    throw backendError("KMS_KEY_UNFIT", { detail: `${uri}: its curve is not known` });
  }
}
