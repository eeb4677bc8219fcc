/** Keys of Google Cloud KMS by its REST interface, v1: wrap with additional authenticated data, sign; checksums both ways. */
import { z } from "zod";
import { fromBase64, toBase64, utf8, wipe } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import { backendError } from "../errors.ts";
import { type HttpAnswer, HttpService, readAuthorities } from "../http-service.ts";
import type { KeyWrapper, WrapContext, WrappedKey } from "../key-wrapper.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import type { CachedTokens } from "../oauth.ts";
import { type BackendPorts, fullPorts } from "../ports.ts";
import { jsonWithBase64, readAnswer, takeBase64 } from "../secret-json.ts";
import { ecPublicPem, type SigningBackend, type SigningHash } from "../signing-backend.ts";
import { crc32c } from "./crc32c.ts";
import { googleErrorOf } from "./errors.ts";
import { openGoogleTokens } from "./login.ts";
import { type GoogleKey, parseGoogleUri } from "./uri.ts";

const SCOPE = "https://www.googleapis.com/auth/cloudkms";
const VERSION = /^[1-9]\d{0,8}$/;
const ALGORITHM_OF: Readonly<Record<string, SigningHash>> = {
  EC_SIGN_P256_SHA256: "sha256",
  EC_SIGN_P384_SHA384: "sha384",
};

const checksum = z.string().regex(/^\d{1,10}$/);
const keySchema = z.object({ purpose: z.string().max(64) });
const encryptSchema = z.object({
  name: z.string().max(1_024),
  ciphertext: z.string().max(BACKEND_LIMITS.ciphertextBytes * 2),
  ciphertextCrc32c: checksum,
  verifiedPlaintextCrc32c: z.boolean().optional(),
  verifiedAdditionalAuthenticatedDataCrc32c: z.boolean().optional(),
});
const decryptSchema = z.object({ plaintextCrc32c: checksum });
const publicSchema = z.object({
  pem: z.string().max(4_096),
  pemCrc32c: checksum,
  algorithm: z.string().max(64),
  name: z.string().max(1_024),
});
const signSchema = z.object({
  signature: z.string().max(2_048),
  signatureCrc32c: checksum,
  verifiedDigestCrc32c: z.boolean().optional(),
  name: z.string().max(1_024),
});

export async function openGoogleWrapper(uri: string, ports: BackendPorts): Promise<KeyWrapper> {
  const client = await GoogleClient.open(uri, ports);
  await client.requirePurpose("ENCRYPT_DECRYPT");
  return new GoogleWrapper(client);
}

export async function openGoogleSigner(uri: string, ports: BackendPorts): Promise<SigningBackend> {
  const client = await GoogleClient.open(uri, ports);
  if (client.key.version === undefined)
    throw backendError("KMS_URI_UNKNOWN", {
      detail: "a key that signs is named with its version",
      hint: `${uri}/cryptoKeyVersions/1`,
    });
  return new GoogleSigner(client, `${client.key.name}/cryptoKeyVersions/${client.key.version}`);
}

class GoogleWrapper implements KeyWrapper {
  readonly uri: string;
  readonly #client: GoogleClient;

  constructor(client: GoogleClient) {
    this.uri = client.key.uri;
    this.#client = client;
  }

  /** By the key's resource name; the service finds the version from the ciphertext. */
  recognises(wrapped: WrappedKey): boolean {
    return wrapped.keyId === this.#client.key.name && VERSION.test(wrapped.keyVersion);
  }

  async wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey> {
    if (key.length === 0 || key.length > BACKEND_LIMITS.wrappedKeyBytes)
      throw new RangeError(`a key to wrap has 1 to ${BACKEND_LIMITS.wrappedKeyBytes} bytes`);
    const { name, version } = this.#client.key;
    const body = jsonWithBase64("plaintext", key, { plaintextCrc32c: crc32c(key), ...boundTo(context) });
    const place = version === undefined ? name : `${name}/cryptoKeyVersions/${version}`;
    const answer = readAnswer(await this.#client.post(`${place}:encrypt`, body), encryptSchema);
    if (!answer.verifiedPlaintextCrc32c || !answer.verifiedAdditionalAuthenticatedDataCrc32c)
      throw changedOnTheWay("the service did not check what it was sent");
    const ciphertext = checked(answer.ciphertext, answer.ciphertextCrc32c, "ciphertext");
    return { kms: this.uri, keyId: name, keyVersion: versionOf(answer.name, name), ciphertext };
  }

  async unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array> {
    const { ciphertext } = wrapped;
    if (!this.recognises(wrapped) || ciphertext.length === 0 || ciphertext.length > BACKEND_LIMITS.ciphertextBytes)
      throw backendError("UNWRAP_FAILED");
    const request = { ciphertext: toBase64(ciphertext), ciphertextCrc32c: crc32c(ciphertext), ...boundTo(context) };
    const body = utf8(JSON.stringify(request));
    const answer = await this.#client.post(`${wrapped.keyId}:decrypt`, body, () => backendError("UNWRAP_FAILED"));
    const { secret, rest } = takeBase64(answer.body, "plaintext");
    const told = decryptSchema.safeParse(rest);
    const fits = secret.length > 0 && secret.length <= BACKEND_LIMITS.wrappedKeyBytes;
    if (fits && told.success && told.data.plaintextCrc32c === crc32c(secret)) return secret;
    wipe(secret);
    throw changedOnTheWay("plaintext");
  }
}

class GoogleSigner implements SigningBackend {
  readonly uri: string;
  readonly #client: GoogleClient;
  readonly #name: string;

  constructor(client: GoogleClient, name: string) {
    this.uri = client.key.uri;
    this.#client = client;
    this.#name = name;
  }

  async publicKeyPem(): Promise<string> {
    const answer = readAnswer(await this.#client.get(`${this.#name}/publicKey`), publicSchema);
    if (answer.name !== this.#name || answer.pemCrc32c !== crc32c(utf8(answer.pem))) throw changedOnTheWay("pem");
    if (ALGORITHM_OF[answer.algorithm] === undefined)
      throw backendError("KMS_KEY_UNFIT", { detail: `${this.uri} is for ${answer.algorithm}` });
    return ecPublicPem({ pem: answer.pem });
  }

  async sign(digest: Uint8Array, hash: SigningHash): Promise<Uint8Array> {
    const body = utf8(JSON.stringify({ digest: { [hash]: toBase64(digest) }, digestCrc32c: crc32c(digest) }));
    const answer = readAnswer(await this.#client.post(`${this.#name}:asymmetricSign`, body), signSchema);
    if (!answer.verifiedDigestCrc32c || answer.name !== this.#name) throw changedOnTheWay("the digest");
    return checked(answer.signature, answer.signatureCrc32c, "signature");
  }
}

class GoogleClient {
  readonly key: GoogleKey;
  readonly #http: HttpService;
  readonly #tokens: CachedTokens;

  private constructor(key: GoogleKey, http: HttpService, tokens: CachedTokens) {
    this.key = key;
    this.#http = http;
    this.#tokens = tokens;
  }

  static async open(uri: string, given: BackendPorts): Promise<GoogleClient> {
    const ports = fullPorts(given);
    const key = parseGoogleUri(uri, ports.env);
    const hint = "name its authority: export CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE=FILE.pem";
    const ca = await readAuthorities(ports.env.CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE);
    return new GoogleClient(key, new HttpService(key.origin, ports, { ca, hint }), openGoogleTokens(ports));
  }

  /** A key that may be used but not looked at is taken as fit; its first use tells. */
  async requirePurpose(purpose: string): Promise<void> {
    const answer = await this.#send("GET", this.key.name, undefined);
    if (answer.status === 403) return;
    const found = readAnswer(this.#accept(answer), keySchema);
    if (found.purpose !== purpose)
      throw backendError("KMS_KEY_UNFIT", { detail: `${this.key.uri} is for ${found.purpose}` });
  }

  async get(path: string): Promise<HttpAnswer> {
    return this.#accept(await this.#send("GET", path, undefined));
  }

  /** The body is wiped. */
  async post(path: string, body: Uint8Array, invalid?: Parameters<typeof googleErrorOf>[2]): Promise<HttpAnswer> {
    try {
      return this.#accept(await this.#send("POST", path, body), invalid);
    } finally {
      wipe(body);
    }
  }

  #accept(answer: HttpAnswer, invalid?: Parameters<typeof googleErrorOf>[2]): HttpAnswer {
    if (answer.status === 200) return answer;
    throw googleErrorOf(answer, this.key.uri, invalid);
  }

  /** A token that is refused is fetched anew, once. */
  async #send(method: "GET" | "POST", path: string, body: Uint8Array | undefined): Promise<HttpAnswer> {
    for (let round = 1; ; round++) {
      const token = await this.#tokens.token(SCOPE);
      const authorization = () => `Bearer ${Buffer.from(token).toString("latin1")}`;
      const answer = await this.#http
        .send(
          () => ({
            method,
            path: `/v1/${path}`,
            headers: { authorization: authorization(), ...(body ? { "content-type": "application/json" } : {}) },
            ...(body ? { body } : {}),
          }),
          { repeatable: true },
        )
        .finally(() => wipe(token));
      if (answer.status !== 401 || round > 1) return answer;
      this.#tokens.drop(SCOPE);
    }
  }
}

function boundTo(context: WrapContext): Record<string, string> {
  const aad = jcs(context);
  return { additionalAuthenticatedData: toBase64(aad), additionalAuthenticatedDataCrc32c: crc32c(aad) };
}

function versionOf(answered: string, name: string): string {
  const prefix = `${name}/cryptoKeyVersions/`;
  const version = answered.startsWith(prefix) ? answered.slice(prefix.length) : "";
  if (VERSION.test(version)) return version;
  throw backendError("KMS_ANSWER_INVALID", { detail: "the version of the key" });
}

function checked(text: string, sum: string, what: string): Uint8Array {
  const bytes = fromBase64(text);
  if (!bytes || bytes.length === 0 || crc32c(bytes) !== sum) throw changedOnTheWay(what);
  return bytes;
}

function changedOnTheWay(detail: string): Error {
  return backendError("KMS_ANSWER_INVALID", { detail });
}
