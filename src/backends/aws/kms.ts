/** Keys of AWS KMS: wrap and unwrap with an encryption context, and sign; its JSON protocol, signed by hand. */
import { z } from "zod";
import { fromBase64, ModelkeepError, toBase64, utf8, wipe } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import type { HttpAnswer } from "../http-service.ts";
import type { KeyWrapper, WrapContext, WrappedKey } from "../key-wrapper.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { type BackendPorts, fullPorts } from "../ports.ts";
import { jsonWithBase64, readAnswer, takeBase64 } from "../secret-json.ts";
import { ecPublicPem, type SigningBackend, type SigningHash } from "../signing-backend.ts";
import { AwsConnection } from "./connection.ts";
import { type AwsKey, parseAwsUri } from "./uri.ts";

const ALGORITHM: Readonly<Record<SigningHash, string>> = {
  sha256: "ECDSA_SHA_256",
  sha384: "ECDSA_SHA_384",
  sha512: "ECDSA_SHA_512",
};
/** AWS rotates the material behind a key by itself and finds the right one from the ciphertext. */
const VERSION = "1";

const arn = z.string().regex(/^arn:[a-z0-9-]+:kms:[a-z0-9-]+:\d{12}:key\/[A-Za-z0-9-]{1,128}$/);
const describeSchema = z.object({
  KeyMetadata: z.object({
    Arn: arn,
    KeyUsage: z.string().max(64).optional(),
    KeyState: z.string().max(64).optional(),
  }),
});
const encryptSchema = z.object({ CiphertextBlob: z.string().max(BACKEND_LIMITS.ciphertextBytes * 2), KeyId: arn });
const publicSchema = z.object({ PublicKey: z.string().max(8_192), KeyUsage: z.string().max(64) });
const signSchema = z.object({ Signature: z.string().max(2_048) });

export async function openAwsWrapper(uri: string, ports: BackendPorts): Promise<KeyWrapper> {
  const client = await AwsClient.open(uri, ports);
  return new AwsWrapper(client, await client.keyArn("ENCRYPT_DECRYPT"));
}

export async function openAwsSigner(uri: string, ports: BackendPorts): Promise<SigningBackend> {
  return new AwsSigner(await AwsClient.open(uri, ports));
}

class AwsWrapper implements KeyWrapper {
  readonly uri: string;
  readonly #client: AwsClient;
  readonly #arn: string;

  constructor(client: AwsClient, keyArn: string) {
    this.uri = client.key.uri;
    this.#client = client;
    this.#arn = keyArn;
  }

  /** By the key's ARN; a multi-region key is the same one in every region. */
  recognises(wrapped: WrappedKey): boolean {
    return withoutRegion(wrapped.keyId) === withoutRegion(this.#arn) && wrapped.keyVersion === VERSION;
  }

  async wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey> {
    if (key.length === 0 || key.length > BACKEND_LIMITS.wrappedKeyBytes)
      throw new RangeError(`a key to wrap has 1 to ${BACKEND_LIMITS.wrappedKeyBytes} bytes`);
    const body = jsonWithBase64("Plaintext", key, { KeyId: this.#arn, EncryptionContext: context });
    const { CiphertextBlob, KeyId } = readAnswer(await this.#client.call("Encrypt", body), encryptSchema);
    const ciphertext = fromBase64(CiphertextBlob);
    if (!ciphertext || ciphertext.length === 0 || KeyId !== this.#arn)
      throw backendError("KMS_ANSWER_INVALID", { detail: "the ciphertext" });
    return { kms: this.uri, keyId: this.#arn, keyVersion: VERSION, ciphertext };
  }

  async unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array> {
    const { ciphertext } = wrapped;
    if (!this.recognises(wrapped) || ciphertext.length === 0 || ciphertext.length > BACKEND_LIMITS.ciphertextBytes)
      throw backendError("UNWRAP_FAILED");
    const request = { CiphertextBlob: toBase64(ciphertext), KeyId: this.#arn, EncryptionContext: context };
    const answer = await this.#client.call("Decrypt", utf8(JSON.stringify(request)));
    const { secret } = takeBase64(answer.body, "Plaintext");
    if (secret.length > 0 && secret.length <= BACKEND_LIMITS.wrappedKeyBytes) return secret;
    wipe(secret);
    throw backendError("KMS_ANSWER_INVALID", { detail: "the length of the key" });
  }

  /** ReEncrypt, which works within one region. */
  async moveTo(wrapped: WrappedKey, context: WrapContext, to: KeyWrapper): Promise<WrappedKey | undefined> {
    if (!(to instanceof AwsWrapper) || to.#client.key.region !== this.#client.key.region) return undefined;
    const request = {
      CiphertextBlob: toBase64(wrapped.ciphertext),
      SourceKeyId: this.#arn,
      SourceEncryptionContext: context,
      DestinationKeyId: to.#arn,
      DestinationEncryptionContext: context,
    };
    const answer = await allowed(this.#client.call("ReEncrypt", utf8(JSON.stringify(request))));
    if (!answer) return undefined;
    const { CiphertextBlob, KeyId } = readAnswer(answer, encryptSchema);
    const ciphertext = fromBase64(CiphertextBlob);
    if (!ciphertext || ciphertext.length === 0 || KeyId !== to.#arn)
      throw backendError("KMS_ANSWER_INVALID", { detail: "the ciphertext" });
    return { kms: to.uri, keyId: to.#arn, keyVersion: VERSION, ciphertext };
  }
}

/** Undefined where the caller may not. */
async function allowed<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof ModelkeepError && error.code === "KMS_DENIED") return undefined;
    throw error;
  }
}

class AwsSigner implements SigningBackend {
  readonly uri: string;
  readonly #client: AwsClient;

  constructor(client: AwsClient) {
    this.uri = client.key.uri;
    this.#client = client;
  }

  async publicKeyPem(): Promise<string> {
    const body = utf8(JSON.stringify({ KeyId: this.#client.key.keyId }));
    const { PublicKey, KeyUsage } = readAnswer(await this.#client.call("GetPublicKey", body), publicSchema);
    const spki = fromBase64(PublicKey);
    if (KeyUsage !== "SIGN_VERIFY")
      throw backendError("KMS_KEY_UNFIT", { detail: `${this.uri} is for ${KeyUsage.slice(0, 40)}` });
    if (!spki) throw backendError("KMS_ANSWER_INVALID", { detail: "PublicKey" });
    return ecPublicPem({ spki });
  }

  async sign(digest: Uint8Array, hash: SigningHash): Promise<Uint8Array> {
    const request = {
      KeyId: this.#client.key.keyId,
      Message: toBase64(digest),
      MessageType: "DIGEST",
      SigningAlgorithm: ALGORITHM[hash],
    };
    const answer = await this.#client.call("Sign", utf8(JSON.stringify(request)));
    const signature = fromBase64(readAnswer(answer, signSchema).Signature);
    if (!signature) throw backendError("KMS_ANSWER_INVALID", { detail: "Signature" });
    return signature;
  }
}

class AwsClient {
  readonly key: AwsKey;
  readonly #connection: AwsConnection;

  private constructor(key: AwsKey, connection: AwsConnection) {
    this.key = key;
    this.#connection = connection;
  }

  static async open(uri: string, given: BackendPorts): Promise<AwsClient> {
    const ports = fullPorts(given);
    const key = parseAwsUri(uri, ports.env);
    const place = { region: key.region, service: "kms", origin: key.endpoint, host: key.host };
    return new AwsClient(key, await AwsConnection.open(place, ports));
  }

  /** An ARN in the URI needs no permission to look the key up. */
  async keyArn(usage: string): Promise<string> {
    if (arn.safeParse(this.key.keyId).success) return this.key.keyId;
    const answer = await this.call("DescribeKey", utf8(JSON.stringify({ KeyId: this.key.keyId })), {
      hint: "allow kms:DescribeKey, or name the key by its ARN",
    });
    const { Arn, KeyUsage, KeyState } = readAnswer(answer, describeSchema).KeyMetadata;
    if (KeyUsage !== undefined && KeyUsage !== usage)
      throw backendError("KMS_KEY_UNFIT", { detail: `${this.key.uri} is for ${KeyUsage}` });
    if (KeyState === "Disabled" || KeyState?.startsWith("Pending"))
      throw backendError("KMS_KEY_DISABLED", { detail: `${this.key.uri} is ${KeyState}` });
    return Arn;
  }

  /** The body is wiped. */
  async call(operation: string, body: Uint8Array, onDenied: { hint?: string } = {}): Promise<HttpAnswer> {
    const headers = { "content-type": "application/x-amz-json-1.1", "x-amz-target": `TrentService.${operation}` };
    try {
      return await this.#connection.call({ headers, body }, this.key.uri, onDenied.hint);
    } finally {
      wipe(body);
    }
  }
}

function withoutRegion(keyArn: string): string {
  const parts = keyArn.split(":");
  return parts[5]?.startsWith("key/mrk-") ? parts.toSpliced(3, 1, "*").join(":") : keyArn;
}
