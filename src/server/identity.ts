/** Who this server is to others: short-lived tokens that it signs, and the keys by which anybody can check them. */
import { createPublicKey } from "node:crypto";
import { createEarKeys, type EarKeys, type PublicEarKey, publicJwk } from "../attestation/index.ts";
import { type Clock, type Random, toBase64Url, toHex, utf8, wipe } from "../base/index.ts";
import { derSequence, parseDer } from "../codec/index.ts";
import type { RecordStore } from "../store/index.ts";
import { createRsaKeys, type PublicRsaKey, type RsaKeys } from "./identity-rsa.ts";
import { SERVER_LIMITS } from "./limits.ts";

export interface IdentityPorts {
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly random: Random;
  /** `public_url` of the configuration. */
  readonly publicUrl: string | undefined;
}

export interface ServerIdentity {
  /** Undefined where nobody else could reach this server's keys. */
  readonly issuer: string | undefined;
  /** In the store: the same on every replica; kept published until the last token of an earlier one has ended. */
  readonly keys: IdentityKeys;
  /** A JWT of SERVER_LIMITS.identitySeconds, as bytes that the caller wipes; absent without an issuer. */
  readonly issue: ((to: IdentityRequest) => Promise<Uint8Array>) | undefined;
}

export interface IdentityRequest {
  readonly audience: string;
  readonly subject: string;
  readonly algorithm: "ES256" | "RS256";
}

export interface IdentityKeys {
  /** Of both algorithms; of each the key in use first, then those that may still have valid tokens. */
  published(): Promise<readonly PublicIdentityKey[]>;
  /** Takes other keys of both algorithms into use. */
  rotate(): Promise<readonly PublicIdentityKey[]>;
}

export type PublicIdentityKey = PublicEarKey | PublicRsaKey;

const COORDINATE_BYTES = 32;

export function createServerIdentity({ store, clock, random, publicUrl }: IdentityPorts): ServerIdentity {
  const issuer = publicUrl?.replace(/\/+$/, "");
  const ec = createEarKeys({ store: ownTables(store), clock });
  const rsa = createRsaKeys({ store, clock });
  const keys = {
    published: async () => [...(await ec.published()), ...(await rsa.published())],
    async rotate() {
      // Kept for longer: where there is room for another of these there is room for both.
      const rsaKeys = await rsa.rotate();
      return [...(await ec.rotate()), ...rsaKeys];
    },
  };
  if (issuer === undefined) return { issuer, keys, issue: undefined };
  const signWith = { ES256: byEc(ec), RS256: rsa.sign };
  return {
    issuer,
    keys,
    async issue({ audience, subject, algorithm }) {
      const iat = Math.floor(clock.now() / 1000);
      const times = { iat, nbf: iat, exp: iat + SERVER_LIMITS.identitySeconds };
      const claims = encode({ iss: issuer, sub: subject, aud: audience, ...times, jti: toHex(random.bytes(16)) });
      const { signed, signature } = await signWith[algorithm]((kid) =>
        utf8(`${encode({ alg: algorithm, typ: "JWT", kid })}.${claims}`),
      );
      const token = Buffer.concat([signed, utf8(`.${toBase64Url(signature)}`)]);
      wipe(signed);
      return token;
    },
  };
}

function byEc(keys: EarKeys): RsaKeys["sign"] {
  return (make) =>
    keys.withSigner(async (signer) => {
      const signed = make(publicJwk(createPublicKey(signer.publicKeyPem)).kid);
      return { signed, signature: rawSignature(await signer.sign(signed)) };
    });
}

const encode = (value: unknown): string => toBase64Url(utf8(JSON.stringify(value)));

/** JWS wants r and s, 32 bytes each (RFC 7518, 3.4). */
function rawSignature(der: Uint8Array): Uint8Array {
  const raw = new Uint8Array(COORDINATE_BYTES * 2);
  for (const [at, { content }] of derSequence(parseDer(der)).entries()) {
    const bytes = content.slice(content[0] === 0 ? 1 : 0);
    raw.set(bytes, (at + 1) * COORDINATE_BYTES - bytes.length);
  }
  return raw;
}

/** Keys for attestation results and for this are not the same: who takes one of them takes no token of the other kind. */
function ownTables(store: RecordStore): Parameters<typeof createEarKeys>[0]["store"] {
  const own = (table: string) => `identity-${table}`;
  const view = (of: Pick<RecordStore, "get" | "put" | "delete" | "list">) => ({
    get: (table: string, id: string) => of.get(own(table), id),
    put: (table: string, id: string, value: Uint8Array, condition?: { readonly ifVersion?: number }) =>
      of.put(own(table), id, value, condition),
    delete: (table: string, id: string) => of.delete(own(table), id),
    list: (table: string, options?: Parameters<RecordStore["list"]>[1]) => of.list(own(table), options),
  });
  return { ...view(store), transaction: (work) => store.transaction((tx) => work(view(tx))) };
}
