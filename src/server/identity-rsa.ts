/** The server's RSA keys as an identity provider, for services that believe RS256 alone: one in use, earlier ones published. */
import { createHash, createPublicKey, generateKeyPair, sign } from "node:crypto";
import { promisify } from "node:util";
import { z } from "zod";
import { type Clock, parseJson, toBase64Url, utf8, wipe } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import { GuardedBytes } from "../host/index.ts";
import type { RecordStore, RecordTransaction } from "../store/index.ts";
import { serverError } from "./errors.ts";
import { SERVER_LIMITS } from "./limits.ts";

export interface PublicRsaKey {
  readonly kty: "RSA";
  /** base64url. */
  readonly n: string;
  readonly e: string;
  readonly alg: "RS256";
  readonly use: "sig";
  /** RFC 7638. */
  readonly kid: string;
}

export interface RsaKeys {
  /** Signs with the key in use, which all replicas share; `make` gets its id and returns what is signed. */
  sign(make: (kid: string) => Uint8Array): Promise<{ readonly signed: Uint8Array; readonly signature: Uint8Array }>;
  /** The key in use first, then those whose tokens may not have ended. */
  published(): Promise<readonly PublicRsaKey[]>;
  /** Takes another key into use; the private half of the old one is gone. */
  rotate(): Promise<readonly PublicRsaKey[]>;
}

/** PKCS #8, of the key in use alone. */
const PRIVATE_TABLE = "identity-rsa-private-keys";
const PUBLIC_TABLE = "identity-rsa-keys";

const storedKey = z.strictObject({
  /** SPKI, PEM. */
  public_key: z.string(),
  created_at: z.int(),
  /** Absent: in use. */
  retired_at: z.int().optional(),
});

interface KnownKey extends z.output<typeof storedKey> {
  readonly kid: string;
}

const generate = promisify(generateKeyPair);
const isInUse = ({ retired_at: at }: KnownKey) => at === undefined;

export function createRsaKeys({ store, clock }: { readonly store: RecordStore; readonly clock: Clock }): RsaKeys {
  let making: Promise<void> | undefined;
  const current = async (): Promise<KnownKey> => {
    const found = (await readKeys(store, clock.now())).find(isInUse);
    if (found) return found;
    making ??= addKey({ store, clock }, false).finally(() => {
      making = undefined;
    });
    await making;
    return current();
  };
  return {
    async sign(make) {
      await current();
      const { kid, secret } = await store.transaction(async (tx) => {
        const inUse = (await readKeys(tx, clock.now())).find(isInUse);
        return { kid: inUse?.kid ?? "", secret: inUse && (await tx.get(PRIVATE_TABLE, inUse.kid)) };
      });
      if (!secret) throw serverError("IDENTITY_KEY_DAMAGED", { detail: kid });
      using pkcs8 = GuardedBytes.take(secret.value);
      const signed = make(kid);
      return { signed, signature: signWith(pkcs8, signed) };
    },
    async published() {
      await current();
      return (await readKeys(store, clock.now())).map(publicRsaJwk);
    },
    async rotate() {
      await addKey({ store, clock }, true);
      return (await readKeys(store, clock.now())).map(publicRsaJwk);
    },
  };
}

function signWith(pkcs8: GuardedBytes, bytes: Uint8Array): Uint8Array {
  return pkcs8.use((der) => {
    const key = Buffer.from(der.buffer, der.byteOffset, der.length);
    return new Uint8Array(sign("sha256", bytes, { key, format: "der", type: "pkcs8" }));
  });
}

function publicRsaJwk({ kid, public_key: pem }: KnownKey): PublicRsaKey {
  const { n = "", e = "" } = createPublicKey(pem).export({ format: "jwk" });
  return { kty: "RSA", n, e, alg: "RS256", use: "sig", kid };
}

function thumbprintOf(pem: string): string {
  const { kty, n, e } = createPublicKey(pem).export({ format: "jwk" });
  return toBase64Url(new Uint8Array(createHash("sha256").update(jcs({ e, kty, n })).digest()));
}

/** In use first, then the newest; without those whose last token has ended. Throws IDENTITY_KEY_DAMAGED. */
async function readKeys(tx: Pick<RecordTransaction, "list">, now: number): Promise<KnownKey[]> {
  const { records } = await tx.list(PUBLIC_TABLE, { limit: SERVER_LIMITS.identityKeys });
  const rank = (key: KnownKey) => (isInUse(key) ? Number.POSITIVE_INFINITY : key.created_at);
  const keys = records.map(({ id, value }) => readKey(id, value));
  return keys.filter((key) => !isOver(key, now)).sort((a, b) => rank(b) - rank(a));
}

function isOver({ retired_at: at }: KnownKey, now: number): boolean {
  return at !== undefined && at + SERVER_LIMITS.identityKeyKeptSeconds * 1000 <= now;
}

function readKey(kid: string, value: Uint8Array): KnownKey {
  const parsed = storedKey.safeParse(parseJson(value, { what: "key" }));
  if (!parsed.success || thumbprintOf(parsed.data.public_key) !== kid)
    throw serverError("IDENTITY_KEY_DAMAGED", { detail: kid });
  return { kid, ...parsed.data };
}

/** The key is made before the transaction: it takes some tenths of a second. Of two that are made at once one stays. */
async function addKey({ store, clock }: { readonly store: RecordStore; readonly clock: Clock }, replaces: boolean) {
  const { publicKey, privateKey } = await generate("rsa", {
    modulusLength: SERVER_LIMITS.identityRsaBits,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "der" },
  });
  try {
    await store.transaction(async (tx) => {
      const now = clock.now();
      const known = await readKeys(tx, now);
      if (!replaces && known.some(isInUse)) return;
      await retire(tx, known, now);
      const kid = thumbprintOf(publicKey);
      await tx.put(PRIVATE_TABLE, kid, privateKey, { ifVersion: 0 });
      await tx.put(PUBLIC_TABLE, kid, utf8(JSON.stringify({ public_key: publicKey, created_at: now })), {
        ifVersion: 0,
      });
    });
  } finally {
    wipe(privateKey);
  }
}

/** Throws IDENTITY_KEYS_LIMIT. */
async function retire(tx: RecordTransaction, known: readonly KnownKey[], now: number): Promise<void> {
  const { records } = await tx.list(PUBLIC_TABLE, { limit: SERVER_LIMITS.identityKeys });
  for (const { id } of records) if (!known.some(({ kid }) => kid === id)) await tx.delete(PUBLIC_TABLE, id);
  if (known.length >= SERVER_LIMITS.identityKeys)
    throw serverError("IDENTITY_KEYS_LIMIT", { detail: `${SERVER_LIMITS.identityKeys} keys are published` });
  for (const { kid, ...key } of known.filter(isInUse)) {
    await tx.put(PUBLIC_TABLE, kid, utf8(JSON.stringify({ ...key, retired_at: now })));
    await tx.delete(PRIVATE_TABLE, kid);
  }
}
