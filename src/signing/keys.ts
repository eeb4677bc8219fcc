/** EC keys: the signer, the trusted keys, and the hint by which a bundle names its key (OMS 1.0, verification material). */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { fromUtf8 } from "../base/index.ts";
import { signingError } from "./errors.ts";

/** The hash that goes with a curve (OMS 1.0: P-256, P-384, P-521). */
const HASH_OF_CURVE: Readonly<Record<string, string>> = {
  prime256v1: "sha256",
  secp384r1: "sha384",
  secp521r1: "sha512",
};

export interface ModelSigner {
  /** SPKI PEM. */
  readonly publicKeyPem: string;
  /** Lower-case hex SHA-256 of the PEM text. */
  readonly keyId: string;
  /** DER of the signer's certificate and of those that lead to its authority; absent for a bare key. */
  readonly certificates?: readonly Uint8Array[];
  /** DER-encoded ECDSA signature of the bytes. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
  /** Timestamp responses over a signature, for its bundle. */
  stamp?(signature: Uint8Array): Promise<readonly Uint8Array[]>;
  /** Of a signer whose bundles need more than a signature; the JSON text. */
  makeBundle?(payload: Uint8Array): Promise<Uint8Array>;
}

export interface TrustedKey {
  readonly keyId: string;
  readonly pem: string;
  verifies(bytes: Uint8Array, signature: Uint8Array): boolean;
}

/** PEM of an unencrypted EC private key, PKCS#8 or SEC 1. The caller wipes the bytes. */
export function loadEcSigner(pem: Uint8Array): ModelSigner {
  const key = parsePrivateKey(pem);
  const hash = hashOf(key);
  if (!hash) throw signingError("SIGNING_KEY_INVALID", { detail: "it is not an EC key on P-256, P-384 or P-521" });
  const publicKeyPem = pemOf(createPublicKey(key));
  return {
    publicKeyPem,
    keyId: keyIdOf(publicKeyPem),
    sign: async (bytes) => new Uint8Array(sign(hash, bytes, { key, dsaEncoding: "der" })),
  };
}

function parsePrivateKey(pem: Uint8Array): KeyObject {
  const buffer = Buffer.from(pem.buffer, pem.byteOffset, pem.length);
  if (buffer.includes("-----BEGIN ENCRYPTED PRIVATE KEY-----") || buffer.includes("Proc-Type: 4,ENCRYPTED"))
    throw signingError("SIGNING_KEY_ENCRYPTED");
  try {
    return createPrivateKey({ key: buffer, format: "pem" });
  } catch {
    throw signingError("SIGNING_KEY_INVALID", { detail: "it is not an unencrypted private key in PEM" });
  }
}

/** SPKI PEM of an EC public key; the text is normalised before it is hashed. */
export function loadTrustedKey(pem: string | Uint8Array): TrustedKey {
  const key = parsePublicKey(typeof pem === "string" ? pem : textOf(pem, "PUBLIC_KEY_INVALID"));
  const trusted = trustedKeyOf(key);
  if (!trusted) throw signingError("PUBLIC_KEY_INVALID", { detail: "it is not an EC key on P-256, P-384 or P-521" });
  return trusted;
}

/** Undefined for a key that OMS does not know. */
export function trustedKeyOf(key: KeyObject): TrustedKey | undefined {
  const hash = hashOf(key);
  if (!hash) return undefined;
  const text = pemOf(key);
  return {
    keyId: keyIdOf(text),
    pem: text,
    verifies: (bytes, signature) => verify(hash, bytes, { key, dsaEncoding: "der" }, signature),
  };
}

export function textOf(pem: Uint8Array, code: "PUBLIC_KEY_INVALID" | "CERTIFICATE_INVALID"): string {
  try {
    return fromUtf8(pem);
  } catch {
    throw signingError(code, { detail: "it is not text" });
  }
}

function parsePublicKey(pem: string): KeyObject {
  if (!/^-----BEGIN PUBLIC KEY-----$/m.test(pem))
    throw signingError("PUBLIC_KEY_INVALID", { detail: "it is not a public key in PEM (BEGIN PUBLIC KEY)" });
  try {
    return createPublicKey({ key: pem, format: "pem" });
  } catch {
    throw signingError("PUBLIC_KEY_INVALID", { detail: "the PEM does not hold a public key" });
  }
}

function hashOf(key: KeyObject): string | undefined {
  return key.asymmetricKeyType === "ec" ? HASH_OF_CURVE[key.asymmetricKeyDetails?.namedCurve ?? ""] : undefined;
}

/** SPKI PEM, one for each key: OpenSSL keeps compressed points and curves that are written out, each with another text. */
export function pemOf(key: KeyObject): string {
  const plain = hashOf(key) ? createPublicKey({ key: key.export({ format: "jwk" }), format: "jwk" }) : key;
  return plain.export({ type: "spki", format: "pem" }).toString();
}

/** Over the PEM text as OpenSSL prints it, final newline included. */
export function keyIdOf(publicKeyPem: string): string {
  return createHash("sha256").update(publicKeyPem).digest("hex");
}
