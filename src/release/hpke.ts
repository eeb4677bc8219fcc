/** Seals the package key to a key born in the environment, and opens it there (HPKE, RFC 9180, base mode). */
import { webcrypto } from "node:crypto";
import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import { fromBase64Url, toBase64Url, wipe } from "../base/index.ts";
import { RELEASE_LIMITS } from "./limits.ts";

export interface SealedKey {
  readonly enc: string;
  readonly ciphertext: string;
}

type Bytes = Uint8Array<ArrayBuffer>;

const suite = new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

/** Undefined when the text is not a point of the curve. */
export async function readPublicKey(text: string): Promise<webcrypto.CryptoKey | undefined> {
  const raw = fromBase64Url(text);
  if (raw?.length !== RELEASE_LIMITS.publicKeyBytes) return undefined;
  try {
    return await suite.kem.deserializePublicKey(new Uint8Array(raw));
  } catch {
    return undefined;
  }
}

/** The caller keeps `key` and wipes it. */
export async function sealTo(
  recipientPublicKey: webcrypto.CryptoKey,
  key: Uint8Array,
  info: Bytes,
  aad: Bytes,
): Promise<SealedKey> {
  const copy = new Uint8Array(new ArrayBuffer(key.length));
  copy.set(key);
  try {
    const sender = await suite.createSenderContext({ recipientPublicKey, info });
    const ciphertext = await sender.seal(copy, aad);
    return { enc: toBase64Url(new Uint8Array(sender.enc)), ciphertext: toBase64Url(new Uint8Array(ciphertext)) };
  } finally {
    wipe(copy);
  }
}

export interface FreshKey {
  /** Uncompressed P-256 point, base64url. */
  readonly publicKey: string;
  /** The caller wipes the result; undefined when it was not sealed for this key, info and associated data. */
  open(sealed: SealedKey, info: Bytes, aad: Bytes): Promise<Uint8Array | undefined>;
}

/** A key pair whose private half cannot be exported and ends with the object. */
export async function createFreshKey(): Promise<FreshKey> {
  const pair = await webcrypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, false, ["deriveBits"]);
  const publicKey = toBase64Url(new Uint8Array(await suite.kem.serializePublicKey(pair.publicKey)));
  return {
    publicKey,
    async open(sealed, info, aad) {
      const enc = fromBase64Url(sealed.enc);
      const ciphertext = fromBase64Url(sealed.ciphertext);
      if (!enc || !ciphertext) return undefined;
      try {
        const recipient = await suite.createRecipientContext({ recipientKey: pair, enc: new Uint8Array(enc), info });
        return new Uint8Array(await recipient.open(new Uint8Array(ciphertext), aad));
      } catch {
        return undefined;
      }
    },
  };
}
