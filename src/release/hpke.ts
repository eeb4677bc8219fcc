/** Seals the package key to a key born in the environment, and opens it there (HPKE, RFC 9180, base mode). */
import type { KeyObject } from "node:crypto";
import { fromBase64Url, toBase64Url } from "../base/index.ts";
import { createHpkeKeyPair, type HpkeContext, openHpke, readHpkeKey, sealHpke } from "../codec/index.ts";

export interface SealedKey {
  readonly enc: string;
  readonly ciphertext: string;
}

/** Undefined when the text is not a point of the curve. */
export function readPublicKey(text: string): KeyObject | undefined {
  const raw = fromBase64Url(text);
  return raw && readHpkeKey(raw);
}

/** The caller keeps `key` and wipes it. */
export function sealTo(recipientPublicKey: KeyObject, key: Uint8Array, context: HpkeContext): SealedKey {
  const { enc, ciphertext } = sealHpke(key, recipientPublicKey, context);
  return { enc: toBase64Url(enc), ciphertext: toBase64Url(ciphertext) };
}

export interface FreshKey {
  /** Uncompressed P-256 point, base64url. */
  readonly publicKey: string;
  /** The caller wipes the result; undefined when it was not sealed for this key, info and associated data. */
  open(sealed: SealedKey, context: HpkeContext): Promise<Uint8Array | undefined>;
}

/** A key pair whose private half nobody else sees and which ends with the object. */
export function createFreshKey(): FreshKey {
  const { privateKey, publicKey } = createHpkeKeyPair();
  return {
    publicKey: toBase64Url(publicKey),
    async open(sealed, context) {
      const enc = fromBase64Url(sealed.enc);
      const ciphertext = fromBase64Url(sealed.ciphertext);
      return enc && ciphertext ? openHpke({ enc, ciphertext }, privateKey, context) : undefined;
    },
  };
}
