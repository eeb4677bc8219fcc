/** The server's keys for attestation results: kept in the store, one in use, earlier ones published until their tokens end. */
import { createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { z } from "zod";
import { type Clock, parseJson, utf8, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import type { RecordStore, RecordTransaction } from "../../store/index.ts";
import { attestationError } from "../errors.ts";
import { EAR_LIMITS } from "./limits.ts";
import { type EarSigner, type PublicEarKey, publicJwk } from "./token.ts";

/** PKCS #8, of the key in use alone. */
const PRIVATE_TABLE = "ear-private-keys";
const PUBLIC_TABLE = "ear-keys";

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

export interface EarKeyPorts {
  readonly store: RecordTransaction & Pick<RecordStore, "transaction">;
  readonly clock: Clock;
}

export interface EarKeys {
  /** Signs with the key in use; the first call makes it. All replicas use the same one. Throws EAR_KEYS_DAMAGED. */
  withSigner<T>(work: (signer: EarSigner) => Promise<T>): Promise<T>;
  /** The key in use first, then those that may still have valid tokens. */
  published(): Promise<readonly PublicEarKey[]>;
  /** Takes another key into use; the private half of the old one is gone. Throws EAR_KEYS_LIMIT. */
  rotate(): Promise<readonly PublicEarKey[]>;
}

export function createEarKeys({ store, clock }: EarKeyPorts): EarKeys {
  const current = async (tx: RecordTransaction) =>
    (await readKeys(tx, clock.now())).find(isInUse) ?? makeKey(tx, clock.now());
  return {
    async withSigner(work) {
      const { key, secret } = await store.transaction(async (tx) => {
        const inUse = await current(tx);
        return { key: inUse, secret: await tx.get(PRIVATE_TABLE, inUse.kid) };
      });
      if (!secret) throw damaged(key.kid);
      using pkcs8 = GuardedBytes.take(secret.value);
      return await work({ publicKeyPem: key.public_key, sign: async (bytes) => signWith(pkcs8, bytes) });
    },
    async published() {
      const keys = await readKeys(store, clock.now());
      if (keys.some(isInUse)) return toWire(keys);
      await store.transaction(current);
      return toWire(await readKeys(store, clock.now()));
    },
    rotate: () =>
      store.transaction(async (tx) => {
        await retire(tx, clock.now());
        await makeKey(tx, clock.now());
        return toWire(await readKeys(tx, clock.now()));
      }),
  };
}

const damaged = (detail: string, cause?: unknown) =>
  attestationError("EAR_KEYS_DAMAGED", { detail, ...(cause ? { cause } : {}) });

const isInUse = ({ retired_at: at }: KnownKey) => at === undefined;

const toWire = (keys: readonly KnownKey[]) => keys.map((key) => publicJwk(createPublicKey(key.public_key)));

function signWith(pkcs8: GuardedBytes, bytes: Uint8Array): Uint8Array {
  return pkcs8.use((der) => {
    const key = Buffer.from(der.buffer, der.byteOffset, der.length);
    return new Uint8Array(sign("sha256", bytes, { key, format: "der", type: "pkcs8" }));
  });
}

/** In use first, then the newest; without those whose last token has ended. */
async function readKeys(tx: RecordTransaction, now: number): Promise<KnownKey[]> {
  const { records } = await tx.list(PUBLIC_TABLE, { limit: EAR_LIMITS.publishedKeys });
  const keys = records.map(({ id, value }) => readKey(id, value));
  const rank = (key: KnownKey) => (isInUse(key) ? Number.POSITIVE_INFINITY : key.created_at);
  return keys.filter((key) => endOf(key) > now).sort((a, b) => rank(b) - rank(a));
}

function endOf({ retired_at: at }: KnownKey): number {
  return at === undefined
    ? Number.POSITIVE_INFINITY
    : at + (EAR_LIMITS.longestLifeSeconds + EAR_LIMITS.publishSlackSeconds) * 1000;
}

function readKey(kid: string, value: Uint8Array): KnownKey {
  try {
    const key = storedKey.parse(parseJson(value, { what: "key" }));
    if (publicJwk(createPublicKey(key.public_key)).kid !== kid) throw new Error("another key");
    return { kid, ...key };
  } catch (error) {
    throw damaged(kid, error);
  }
}

async function makeKey(tx: RecordTransaction, now: number): Promise<KnownKey> {
  const { publicKey, privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "der" },
  });
  const { kid } = publicJwk(createPublicKey(publicKey));
  const about = { public_key: publicKey, created_at: now };
  try {
    await tx.put(PRIVATE_TABLE, kid, privateKey, { ifVersion: 0 });
    await tx.put(PUBLIC_TABLE, kid, utf8(JSON.stringify(about)), { ifVersion: 0 });
  } finally {
    wipe(privateKey);
  }
  return { kid, ...about };
}

/** Ends the key in use, and forgets those that nobody needs any more. */
async function retire(tx: RecordTransaction, now: number): Promise<void> {
  const { records } = await tx.list(PUBLIC_TABLE, { limit: EAR_LIMITS.publishedKeys });
  const keys = records.map(({ id, value }) => readKey(id, value));
  const ended = keys.filter((key) => endOf(key) <= now);
  for (const { kid } of ended) await tx.delete(PUBLIC_TABLE, kid);
  if (keys.length - ended.length >= EAR_LIMITS.publishedKeys)
    throw attestationError("EAR_KEYS_LIMIT", { detail: `${EAR_LIMITS.publishedKeys} keys have valid tokens` });
  for (const { kid, ...key } of keys.filter(isInUse)) {
    await tx.put(PUBLIC_TABLE, kid, utf8(JSON.stringify({ ...key, retired_at: now })));
    await tx.delete(PRIVATE_TABLE, kid);
  }
}
