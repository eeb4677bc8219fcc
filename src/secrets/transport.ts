/** Seals a value for the way between client and server (HPKE, RFC 9180), so that no JSON, header or string ever holds it. */
import type { webcrypto } from "node:crypto";
import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import { z } from "zod";
import { fromBase64Url, parseJson, toBase64Url, toHex, utf8, wipe } from "../base/index.ts";
import type { RecordStore } from "../store/index.ts";
import { secretError } from "./errors.ts";

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

const suite = new CipherSuite({
  kem: new DhkemP256HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});

function infoOf(purpose: SealPurpose): Uint8Array<ArrayBuffer> {
  return new Uint8Array(utf8(`modelkeep secret ${purpose.direction} v1\n${purpose.name}`));
}

/** Seals for the holder of `key`; the caller keeps `value` and wipes it. */
export async function sealValue(value: Uint8Array, key: TransportKey, purpose: SealPurpose): Promise<SealedValue> {
  const raw = fromBase64Url(key.publicKey);
  if (raw?.length !== 65)
    throw secretError("TRANSPORT_SEAL_INVALID", { detail: "the public key is not a P-256 point" });
  const copy = new Uint8Array(new ArrayBuffer(value.length));
  copy.set(value);
  try {
    const recipientPublicKey = await suite.kem.deserializePublicKey(new Uint8Array(raw));
    const sender = await suite.createSenderContext({ recipientPublicKey, info: infoOf(purpose) });
    const ciphertext = await sender.seal(copy);
    return {
      keyId: key.keyId,
      enc: toBase64Url(new Uint8Array(sender.enc)),
      ciphertext: toBase64Url(new Uint8Array(ciphertext)),
    };
  } catch (error) {
    throw secretError("TRANSPORT_SEAL_INVALID", { detail: "the public key cannot be used", cause: error });
  } finally {
    wipe(copy);
  }
}

/** A receiver whose key lives as long as the object: what a client makes for one checkout. */
export async function createReceiver(): Promise<TransportReceiver> {
  return receiverOf(await suite.kem.generateKeyPair());
}

const TABLE = "transport-keys";
const storedKey = z.object({ d: z.string(), x: z.string(), y: z.string() });

/** The server's receiver: its key is in the store, behind the barrier, so that every replica opens the same values. */
export async function openServerReceiver(options: { readonly store: RecordStore }): Promise<TransportReceiver> {
  const { store } = options;
  await store.transaction(async (tx) => {
    if (await tx.get(TABLE, "current")) return;
    const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]);
    const { d, x, y } = await crypto.subtle.exportKey("jwk", pair.privateKey);
    await tx.put(TABLE, "current", utf8(JSON.stringify({ d, x, y })), { ifVersion: 0 });
  });
  const record = await store.get(TABLE, "current");
  const parsed = storedKey.safeParse(record && parseJson(record.value, { what: "transport key" }));
  if (!parsed.success) throw secretError("SECRET_DAMAGED", { detail: "transport key" });
  return receiverOf(await importPair(parsed.data));
}

async function importPair(stored: z.output<typeof storedKey>): Promise<webcrypto.CryptoKeyPair> {
  const { d, x, y } = stored;
  const algorithm = { name: "ECDH", namedCurve: "P-256" };
  const base = { kty: "EC", crv: "P-256", x, y };
  return {
    privateKey: await crypto.subtle.importKey("jwk", { ...base, d }, algorithm, true, ["deriveBits"]),
    publicKey: await crypto.subtle.importKey("jwk", base, algorithm, true, []),
  };
}

async function receiverOf(pair: webcrypto.CryptoKeyPair): Promise<TransportReceiver> {
  const raw = new Uint8Array(await suite.kem.serializePublicKey(pair.publicKey));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", raw));
  const key = { keyId: toHex(digest.subarray(0, 16)), publicKey: toBase64Url(raw) };
  return {
    key,
    async open(sealed, purpose) {
      if (sealed.keyId !== key.keyId) throw secretError("TRANSPORT_KEY_UNKNOWN");
      const enc = fromBase64Url(sealed.enc);
      const ciphertext = fromBase64Url(sealed.ciphertext);
      if (!enc || !ciphertext) throw secretError("TRANSPORT_SEAL_INVALID", { detail: "not base64url" });
      return openWith(pair, enc, ciphertext, infoOf(purpose));
    },
  };
}

async function openWith(
  pair: webcrypto.CryptoKeyPair,
  enc: Uint8Array,
  ciphertext: Uint8Array,
  info: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  try {
    const recipient = await suite.createRecipientContext({ recipientKey: pair, enc: new Uint8Array(enc), info });
    return new Uint8Array(await recipient.open(new Uint8Array(ciphertext)));
  } catch (error) {
    throw secretError("TRANSPORT_SEAL_INVALID", { cause: error });
  }
}
