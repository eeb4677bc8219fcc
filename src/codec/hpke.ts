/** HPKE (RFC 9180) in base mode, one message: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, all of it OpenSSL's. */
import {
  createCipheriv,
  createHmac,
  createPublicKey,
  decapsulate,
  encapsulate,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  type webcrypto,
} from "node:crypto";
import { concatBytes, copySecret, toBase64Url, utf8, wipe } from "../base/index.ts";

export interface HpkeMessage {
  /** The encapsulated key: an uncompressed point of 65 bytes. */
  readonly enc: Uint8Array;
  /** With the tag at its end. */
  readonly ciphertext: Uint8Array;
}

/** What both sides must name alike. */
export interface HpkeContext {
  readonly info: Uint8Array;
  readonly aad?: Uint8Array | undefined;
}

export interface HpkeKeyPair {
  readonly privateKey: KeyObject;
  /** Uncompressed point. */
  readonly publicKey: Uint8Array;
}

const POINT_BYTES = 65;
const COORDINATE_BYTES = 32;
const UNCOMPRESSED = 4;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CIPHER = "aes-256-gcm";
const HASH = "sha256";

const VERSION = utf8("HPKE-v1");
/** Sections 5.1 and 7: "HPKE", then the ids of KEM 0x0010, KDF 0x0001 and AEAD 0x0002. */
const SUITE = concatBytes(utf8("HPKE"), Uint8Array.of(0, 0x10, 0, 1, 0, 2));
const MODE_BASE = Uint8Array.of(0);
const NOTHING = new Uint8Array(0);
const PSK_ID_HASH = labeledHash("psk_id_hash", NOTHING);
const SECRET_INPUT = labeled("secret", NOTHING);

/** Undefined for what is not a point of the curve, which OpenSSL looks at; the curve has no small subgroups. */
export function readHpkeKey(point: Uint8Array): KeyObject | undefined {
  if (point.length !== POINT_BYTES || point[0] !== UNCOMPRESSED) return undefined;
  const x = toBase64Url(point.subarray(1, 1 + COORDINATE_BYTES));
  const y = toBase64Url(point.subarray(1 + COORDINATE_BYTES));
  try {
    return createPublicKey({ key: { kty: "EC", crv: "P-256", x, y }, format: "jwk" });
  } catch {
    return undefined;
  }
}

/** A pair whose private half ends with the object. */
export function createHpkeKeyPair(): HpkeKeyPair {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { privateKey, publicKey: pointOf(publicKey) };
}

/** The public half of either, as an uncompressed point. */
export function pointOf(key: KeyObject): Uint8Array {
  const { x = "", y = "" } = key.export({ format: "jwk" });
  return concatBytes(Uint8Array.of(UNCOMPRESSED), Buffer.from(x, "base64url"), Buffer.from(y, "base64url"));
}

/** The caller keeps `plaintext` and wipes it. Throws TypeError for a key that is no public key of P-256. */
export function sealHpke(plaintext: Uint8Array, to: KeyObject, { info, aad = NOTHING }: HpkeContext): HpkeMessage {
  const { sharedKey, ciphertext: enc } = encapsulate(to);
  const { key, nonce } = scheduleKey(sharedKey, info);
  try {
    const cipher = createCipheriv(CIPHER, key, nonce).setAAD(aad);
    return { enc, ciphertext: concatBytes(cipher.update(plaintext), cipher.final(), cipher.getAuthTag()) };
  } finally {
    wipe(key);
    wipe(nonce);
  }
}

/** The caller wipes the result; undefined when it was not sealed for this key and context. */
export async function openHpke(
  { enc, ciphertext }: HpkeMessage,
  privateKey: KeyObject,
  { info, aad = NOTHING }: HpkeContext,
): Promise<Uint8Array | undefined> {
  const shared = ciphertext.length < TAG_BYTES ? undefined : sharedSecret(privateKey, enc);
  if (!shared) return undefined;
  const { key, nonce } = scheduleKey(shared, info);
  try {
    return await decrypt({ key, nonce, aad }, ciphertext);
  } catch {
    return undefined;
  } finally {
    wipe(key);
    wipe(nonce);
  }
}

function sharedSecret(privateKey: KeyObject, enc: Uint8Array): Uint8Array | undefined {
  if (enc.length !== POINT_BYTES) return undefined;
  try {
    return decapsulate(privateKey, enc);
  } catch {
    return undefined;
  }
}

interface Opening {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
}

/** By WebCrypto: a Decipher of node:crypto frees a first copy of what it decrypted as it is. */
async function decrypt({ key, nonce, aad }: Opening, ciphertext: Uint8Array): Promise<Uint8Array> {
  const opened = await crypto.subtle.importKey("raw", copySecret(key), "AES-GCM", false, ["decrypt"]);
  const algorithm: webcrypto.AesGcmParams = { name: "AES-GCM", iv: copySecret(nonce), additionalData: copySecret(aad) };
  return new Uint8Array(await crypto.subtle.decrypt(algorithm, opened, copySecret(ciphertext)));
}

/** Section 5.1, without a PSK; wipes the shared secret. HKDF's two halves are one call, so that nothing lies between them. */
function scheduleKey(shared: Uint8Array, info: Uint8Array): { readonly key: Uint8Array; readonly nonce: Uint8Array } {
  const context = concatBytes(MODE_BASE, PSK_ID_HASH, labeledHash("info_hash", info));
  const expand = (label: string, length: number) => {
    const wanted = concatBytes(Uint8Array.of(0, length), labeled(label, context));
    return new Uint8Array(hkdfSync(HASH, SECRET_INPUT, shared, wanted, length));
  };
  try {
    return { key: expand("key", KEY_BYTES), nonce: expand("base_nonce", NONCE_BYTES) };
  } finally {
    wipe(shared);
  }
}

/** LabeledExtract without a salt. */
function labeledHash(label: string, input: Uint8Array): Uint8Array {
  return createHmac(HASH, NOTHING).update(labeled(label, input)).digest();
}

function labeled(label: string, input: Uint8Array): Uint8Array {
  return concatBytes(VERSION, SUITE, utf8(label), input);
}
