/** Keys in a PKCS#11 token: AES-GCM wraps, EC signs; neither key comes out. */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { concatBytes, copySecret, toHex, utf8, wipe } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { ecdsaDer, ecSpki } from "../ec-encoding.ts";
import { backendError } from "../errors.ts";
import type { KeyWrapper, WrapContext, WrappedKey } from "../key-wrapper.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { type BackendPorts, type FullPorts, fullPorts } from "../ports.ts";
import { readCredentialFile } from "../private-file.ts";
import { ecPublicPem, type SigningBackend } from "../signing-backend.ts";
import { type Attribute, Pkcs11Token, type Session } from "./token.ts";
import { type Pkcs11Uri, parsePkcs11Uri } from "./uri.ts";

const CKA = { class: 0x0, label: 0x3, keyType: 0x100, id: 0x102, checkValue: 0x90, ecParams: 0x180, ecPoint: 0x181 };
const CKO = { publicKey: 2, privateKey: 3, secretKey: 4 };
const CKK = { ec: 0x3, aes: 0x1f };
const CKM_ECDSA = 0x1041;
const CKM_AES_GCM = 0x1087;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const MAX_ECDSA_BYTES = 2 * 66;
const FORMAT = "modelkeep-pkcs11-wrap-v1";
/** A token's objects have no version: a new key is a new object. */
const VERSION = "1";
/** What tokens answer to a tag that does not fit; SoftHSM gives CKR_GENERAL_ERROR. */
const WRONG_TAG = new Set([5, 6, 64, 65, 66]);

export async function openPkcs11Wrapper(text: string, given: BackendPorts): Promise<KeyWrapper> {
  const ports = fullPorts(given);
  const { uri, token } = await openToken(text, ports);
  const keyId = await token.use(async (session) => keyIdOf(session, await aesKey(session, uri)));
  return new Pkcs11Wrapper(uri, token, keyId, ports);
}

export async function openPkcs11Signer(text: string, ports: BackendPorts): Promise<SigningBackend> {
  const { uri, token } = await openToken(text, fullPorts(ports));
  return new Pkcs11Signer(uri, token);
}

class Pkcs11Wrapper implements KeyWrapper {
  readonly uri: string;
  readonly #parsed: Pkcs11Uri;
  readonly #token: Pkcs11Token;
  readonly #keyId: string;
  readonly #ports: FullPorts;

  constructor(uri: Pkcs11Uri, token: Pkcs11Token, keyId: string, ports: FullPorts) {
    this.uri = uri.uri;
    this.#parsed = uri;
    this.#token = token;
    this.#keyId = keyId;
    this.#ports = ports;
  }

  recognises(wrapped: WrappedKey): boolean {
    return wrapped.keyId === this.#keyId && wrapped.keyVersion === VERSION;
  }

  async wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey> {
    if (key.length === 0 || key.length > BACKEND_LIMITS.wrappedKeyBytes)
      throw new RangeError(`a key to wrap has 1 to ${BACKEND_LIMITS.wrappedKeyBytes} bytes`);
    const nonce = this.#ports.random.bytes(NONCE_BYTES);
    const input = Buffer.from(key);
    const output = Buffer.alloc(key.length + TAG_BYTES);
    const length: [unknown] = [output.length];
    try {
      await this.#token.use(async (session) => {
        await session.call("C_EncryptInit", [this.#mechanism(nonce, context), await aesKey(session, this.#parsed)]);
        await session.call("C_Encrypt", [input, input.length, output, length]);
      });
    } finally {
      wipe(input);
    }
    if (Number(length[0]) !== output.length)
      throw backendError("KMS_ANSWER_INVALID", { detail: "the length of the wrapped key" });
    return { kms: this.uri, keyId: this.#keyId, keyVersion: VERSION, ciphertext: concatBytes(nonce, output) };
  }

  async unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array> {
    const { ciphertext } = wrapped;
    const bytes = ciphertext.length - NONCE_BYTES - TAG_BYTES;
    if (!this.recognises(wrapped) || bytes <= 0 || bytes > BACKEND_LIMITS.wrappedKeyBytes)
      throw backendError("UNWRAP_FAILED");
    const nonce = ciphertext.slice(0, NONCE_BYTES);
    const input = Buffer.from(ciphertext.subarray(NONCE_BYTES));
    const output = Buffer.alloc(input.length);
    const length: [unknown] = [output.length];
    const wrongTag = (value: number) => (WRONG_TAG.has(value) ? backendError("UNWRAP_FAILED") : undefined);
    try {
      await this.#token.use(async (session) => {
        await session.call("C_DecryptInit", [this.#mechanism(nonce, context), await aesKey(session, this.#parsed)]);
        await session.call("C_Decrypt", [input, input.length, output, length], wrongTag);
      });
      if (Number(length[0]) !== bytes) throw backendError("UNWRAP_FAILED");
      return copySecret(output.subarray(0, bytes));
    } finally {
      wipe(output);
    }
  }

  #mechanism(nonce: Uint8Array, context: WrapContext) {
    const aad = Buffer.from(jcs({ format: FORMAT, key_id: this.#keyId, context }));
    const iv = Buffer.from(nonce);
    const parameter = {
      iv,
      ivBytes: iv.length,
      ivBits: iv.length * 8,
      aad,
      aadBytes: aad.length,
      tagBits: TAG_BYTES * 8,
    };
    return { mechanism: CKM_AES_GCM, parameter, length: GCM_PARAMS_BYTES };
  }
}

/** Six machine words. */
const GCM_PARAMS_BYTES = 48;

class Pkcs11Signer implements SigningBackend {
  readonly uri: string;
  readonly #parsed: Pkcs11Uri;
  readonly #token: Pkcs11Token;

  constructor(uri: Pkcs11Uri, token: Pkcs11Token) {
    this.uri = uri.uri;
    this.#parsed = uri;
    this.#token = token;
  }

  /** From the public object with the private key's id, or from the private object where a token shows it there. */
  publicKeyPem(): Promise<string> {
    return this.#token.use(async (session) => {
      const key = await findKey(session, this.#parsed, CKO.privateKey, CKK.ec);
      const id = await session.attribute(key, CKA.id);
      const twin = id?.length
        ? await session.find([ulongAttribute(CKA.class, CKO.publicKey), { type: CKA.id, value: id }])
        : [];
      const source = twin.length === 1 ? twin[0] : key;
      const parameters =
        (await session.attribute(source, CKA.ecParams)) ?? (await session.attribute(key, CKA.ecParams));
      const point = await session.attribute(source, CKA.ecPoint);
      const spki = parameters && point && ecSpki(parameters, point);
      if (!spki)
        throw backendError("KMS_KEY_UNFIT", { detail: `${this.uri}: the token does not show its public EC key` });
      return ecPublicPem({ spki });
    });
  }

  async sign(digest: Uint8Array): Promise<Uint8Array> {
    const input = Buffer.from(digest);
    const output = Buffer.alloc(MAX_ECDSA_BYTES);
    const length: [unknown] = [output.length];
    await this.#token.use(async (session) => {
      const key = await findKey(session, this.#parsed, CKO.privateKey, CKK.ec);
      await session.call("C_SignInit", [{ mechanism: CKM_ECDSA, parameter: null, length: 0 }, key]);
      await session.call("C_Sign", [input, input.length, output, length]);
    });
    const signature = ecdsaDer(output.subarray(0, Number(length[0])));
    if (!signature) throw backendError("KMS_ANSWER_INVALID", { detail: "the signature" });
    return signature;
  }
}

async function openToken(text: string, ports: FullPorts): Promise<{ uri: Pkcs11Uri; token: Pkcs11Token }> {
  const uri = parsePkcs11Uri(text);
  const modulePath = uri.modulePath ?? ports.env.MODELKEEP_PKCS11_MODULE;
  if (!modulePath) throw backendError("PKCS11_MODULE_INVALID", { detail: "no module is named" });
  return { uri, token: await Pkcs11Token.open(modulePath, uri, () => readPin(uri.pinSource, ports.env)) };
}

/** `pin-source` is a file, by path or file: URI, or `env:NAME`; without one it is MODELKEEP_PKCS11_PIN. */
async function readPin(source: string | undefined, env: FullPorts["env"]): Promise<GuardedBytes> {
  const name = source === undefined ? "MODELKEEP_PKCS11_PIN" : /^env:([A-Z0-9_]{1,64})$/.exec(source)?.[1];
  const text = name === undefined ? await readPinFile(source ?? "") : utf8(env[name] ?? "");
  try {
    const end = text.findLastIndex((byte) => byte !== 0x0a && byte !== 0x0d) + 1;
    if (end > 0 && end <= BACKEND_LIMITS.pinBytes) return GuardedBytes.take(text.slice(0, end));
  } finally {
    wipe(text);
  }
  throw backendError("KMS_CREDENTIALS_MISSING", {
    detail: `there is no PIN in ${name ?? source}`,
    hint: "?pin-source=file:/run/pin, or export MODELKEEP_PKCS11_PIN",
  });
}

function readPinFile(source: string): Promise<Uint8Array> {
  const path = source.startsWith("file:") ? pathOf(source) : source;
  return readCredentialFile(path, BACKEND_LIMITS.pinBytes + 2);
}

function pathOf(uri: string): string {
  try {
    return fileURLToPath(uri);
  } catch {
    throw backendError("KMS_URI_UNKNOWN", { detail: "pin-source names no file" });
  }
}

/** The only key that fits. Throws KMS_KEY_NOT_FOUND for none or several, KMS_KEY_UNFIT for one of another kind. */
async function findKey(session: Session, uri: Pkcs11Uri, kind: number, type: number): Promise<unknown> {
  const template = [
    ulongAttribute(CKA.class, kind),
    ...(uri.object === undefined ? [] : [{ type: CKA.label, value: utf8(uri.object) }]),
    ...(uri.id === undefined ? [] : [{ type: CKA.id, value: uri.id }]),
  ];
  const found = await session.find(template);
  if (found.length !== 1)
    throw backendError("KMS_KEY_NOT_FOUND", {
      detail: `${uri.uri}: ${found.length === 0 ? "no" : "more than one"} ${kind === CKO.secretKey ? "secret" : "private"} key`,
    });
  const wanted = ulongAttribute(CKA.keyType, type).value;
  const actual = await session.attribute(found[0], CKA.keyType);
  if (!actual || !Buffer.from(actual).equals(wanted))
    throw backendError("KMS_KEY_UNFIT", { detail: `${uri.uri} is not an ${type === CKK.aes ? "AES" : "EC"} key` });
  return found[0];
}

function aesKey(session: Session, uri: Pkcs11Uri): Promise<unknown> {
  return findKey(session, uri, CKO.secretKey, CKK.aes);
}

/** Of what stays the same when a key is copied to another token: its id, its label and its check value. */
async function keyIdOf(session: Session, object: unknown): Promise<string> {
  const parts: (Uint8Array | undefined)[] = [];
  for (const type of [CKA.id, CKA.label, CKA.checkValue]) parts.push(await session.attribute(object, type));
  const text = jcs(parts.map((part) => toHex(part ?? new Uint8Array(0))));
  return createHash("sha256").update(text).digest("hex");
}

function ulongAttribute(type: number, value: number): Attribute {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return { type, value: bytes };
}
