/** Seals a value for the way between client and server (HPKE, RFC 9180), so that no JSON, header or string ever holds it. */
import { createPrivateKey, createPublicKey, hash, type KeyObject } from "node:crypto";
import { z } from "zod";
import { fromBase64Url, parseJson, toBase64Url, utf8 } from "../base/index.ts";
import { createHpkeKeyPair, type HpkeKeyPair, openHpke, pointOf, readHpkeKey, sealHpke } from "../codec/index.ts";
import type { RecordStore } from "../store/index.ts";
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";

/** A public key to seal to: the id is the first 16 bytes of its SHA-256. */
export interface TransportKey {
  readonly keyId: string;
  /** Uncompressed P-256 point, base64url. */
  readonly publicKey: string;
}

export interface SealedValue {
  readonly keyId: string;
  /** HPKE encapsulated key, base64url. */
  readonly enc: string;
  readonly ciphertext: string;
}

/** One direction and one secret: a value that was sealed to be put cannot be replayed as another secret. */
export interface SealPurpose {
  readonly direction: "put" | "checkout";
  readonly name: string;
}

export interface TransportReceiver {
  readonly key: TransportKey;
  /** The caller wipes the result. Fails with TRANSPORT_KEY_UNKNOWN or TRANSPORT_SEAL_INVALID. */
  open(sealed: SealedValue, purpose: SealPurpose): Promise<Uint8Array>;
}

/** Of callers, by the text of the key: the last ones that came. */
const recipients = new Map<string, KeyObject>();

function infoOf(purpose: SealPurpose): Uint8Array {
  return utf8(`modelkeep secret ${purpose.direction} v1\n${purpose.name}`);
}

/** Seals for the holder of `key`; the caller keeps `value` and wipes it. Throws TRANSPORT_SEAL_INVALID. */
export function sealValue(value: Uint8Array, key: TransportKey, purpose: SealPurpose): SealedValue {
  const { enc, ciphertext } = sealHpke(value, recipientOf(key.publicKey), { info: infoOf(purpose) });
  return { keyId: key.keyId, enc: toBase64Url(enc), ciphertext: toBase64Url(ciphertext) };
}

/** Throws TRANSPORT_SEAL_INVALID for what is not a point of the curve. */
function recipientOf(text: string): KeyObject {
  const known = recipients.get(text);
  if (known) return known;
  const point = fromBase64Url(text);
  const key = point && readHpkeKey(point);
  if (!key) throw secretError("TRANSPORT_SEAL_INVALID", { detail: "the public key is not a P-256 point" });
  if (recipients.size >= SECRET_LIMITS.recipientKeys) recipients.delete(recipients.keys().next().value ?? "");
  recipients.set(text, key);
  return key;
}

/** A receiver whose key lives as long as the object: what a client makes for one checkout. */
export function createReceiver(): TransportReceiver {
  return receiverOf(createHpkeKeyPair());
}

const TABLE = "transport-keys";
const storedKey = z.object({ d: z.string(), x: z.string(), y: z.string() });

/** The server's receiver: its key is in the store, behind the barrier, so that every replica opens the same values. */
export async function openServerReceiver(options: { readonly store: RecordStore }): Promise<TransportReceiver> {
  const { store } = options;
  await store.transaction(async (tx) => {
    if (await tx.get(TABLE, "current")) return;
    const { d, x, y } = createHpkeKeyPair().privateKey.export({ format: "jwk" });
    await tx.put(TABLE, "current", utf8(JSON.stringify({ d, x, y })), { ifVersion: 0 });
  });
  const record = await store.get(TABLE, "current");
  const parsed = storedKey.safeParse(record && parseJson(record.value, { what: "transport key" }));
  if (!parsed.success) throw secretError("SECRET_DAMAGED", { detail: "transport key" });
  return receiverOf(importPair(parsed.data));
}

function importPair({ d, x, y }: z.output<typeof storedKey>): HpkeKeyPair {
  const privateKey = createPrivateKey({ key: { kty: "EC", crv: "P-256", d, x, y }, format: "jwk" });
  return { privateKey, publicKey: pointOf(createPublicKey(privateKey)) };
}

function receiverOf({ privateKey, publicKey }: HpkeKeyPair): TransportReceiver {
  const key = { keyId: hash("sha256", publicKey, "hex").slice(0, 32), publicKey: toBase64Url(publicKey) };
  return {
    key,
    async open(sealed, purpose) {
      if (sealed.keyId !== key.keyId) throw secretError("TRANSPORT_KEY_UNKNOWN");
      const enc = fromBase64Url(sealed.enc);
      const ciphertext = fromBase64Url(sealed.ciphertext);
      if (!enc || !ciphertext) throw secretError("TRANSPORT_SEAL_INVALID", { detail: "not base64url" });
      const value = await openHpke({ enc, ciphertext }, privateKey, { info: infoOf(purpose) });
      if (!value) throw secretError("TRANSPORT_SEAL_INVALID");
      return value;
    },
  };
}
