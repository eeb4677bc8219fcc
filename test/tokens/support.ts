/** Token services over one shared store, a clock that the test moves, and a client that makes good and bad proofs. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import * as jose from "jose";
import { type Clock, silentLog } from "../../src/base/index.ts";
import { GuardedBytes, systemRandom } from "../../src/host/index.ts";
import { openStore, type RecordStore } from "../../src/store/index.ts";
import { createTokenService, GRANT_TYPE, ProofKey, TOKEN_TYPES, type TokenService } from "../../src/tokens/index.ts";
import { KeptEvents } from "../secrets/support.ts";

export const SERVER = "http://127.0.0.1:8420";
export const TOKEN_URL = `${SERVER}/oauth/token`;
export const ADA = { type: "Admin", id: "ada" } as const;
export const DEMO = { type: "Workload", id: "demo" } as const;

/** Both hands can be moved, each alone. */
export class HandClock implements Clock {
  wall = 1_800_000_000_000;
  steady = 1_000_000;
  now(): number {
    return this.wall;
  }
  monotonic(): number {
    return this.steady;
  }
  pass(seconds: number): void {
    this.wall += seconds * 1000;
    this.steady += seconds * 1000;
  }
}

export async function sqliteStore(t: TestContext): Promise<RecordStore> {
  const folder = await mkdtemp(join(tmpdir(), "modelkeep-tokens-"));
  const rootKey = GuardedBytes.take(systemRandom.bytes(32));
  const clock = { now: () => Date.now(), monotonic: () => performance.now() };
  const url = `sqlite:${join(folder, "records.db")}`;
  const store = await openStore({ url, rootKey, clock, random: systemRandom, log: silentLog });
  t.after(async () => {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });
  return store;
}

export async function startTokens(t: TestContext, given: { store?: RecordStore; clock?: Clock } = {}) {
  const clock = new HandClock();
  const recorder = new KeptEvents();
  const store = given.store ?? (await sqliteStore(t));
  const ports = { store, recorder, clock: given.clock ?? clock, random: systemRandom, log: silentLog };
  const tokens = await createTokenService(ports);
  t.after(() => tokens.close());
  return { tokens, clock, recorder, store, ports };
}

export function codeForm(code: string): URLSearchParams {
  return new URLSearchParams({
    grant_type: GRANT_TYPE,
    subject_token: code,
    subject_token_type: TOKEN_TYPES.enrolmentCode,
  });
}

export function renewalForm(assertion: string): URLSearchParams {
  return new URLSearchParams({
    grant_type: GRANT_TYPE,
    subject_token: assertion,
    subject_token_type: TOKEN_TYPES.jwt,
  });
}

export interface Holder {
  readonly key: ProofKey;
  readonly jwk: jose.JWK;
  readonly accessToken: string;
  readonly tokenId: string;
}

/** A workload with an enrolled key and a token. */
export async function enrolHolder(
  tokens: TokenService,
  clock: Clock,
  principal: { readonly type: "Workload" | "Admin"; readonly id: string } = DEMO,
): Promise<Holder> {
  const { code } = await tokens.enrol({ principal, groups: ["team"], by: ADA });
  const { key, privateJwk } = await ProofKey.generate();
  const dpop = await key.prove({ method: "POST", url: TOKEN_URL }, { clock, random: systemRandom });
  const { accessToken, tokenId } = await tokens.exchange({ form: codeForm(code), dpop, url: TOKEN_URL });
  return { key, jwk: { ...privateJwk }, accessToken, tokenId };
}

function athOf(accessToken: string): string {
  return createHash("sha256").update(accessToken).digest("base64url");
}

export interface Crafted {
  readonly header?: Record<string, unknown>;
  readonly payload?: Record<string, unknown>;
  readonly signWith?: jose.JWK;
}

/** A proof made without the house's own code, with anything about it changed. */
export async function craftProof(holder: Holder, clock: Clock, url: string, changed: Crafted = {}): Promise<string> {
  const { kty, crv, x, y } = holder.jwk;
  const header = { typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y }, ...changed.header };
  const payload = {
    jti: jose.base64url.encode(systemRandom.bytes(16)),
    htm: "POST",
    htu: url.split(/[?#]/)[0],
    iat: Math.floor(clock.now() / 1000),
    ath: athOf(holder.accessToken),
    ...changed.payload,
  };
  const key = await jose.importJWK(changed.signWith ?? holder.jwk, "ES256");
  if (!(key instanceof CryptoKey)) throw new Error("a CryptoKey was expected");
  const signed = [header, payload].map((part) => jose.base64url.encode(JSON.stringify(part))).join(".");
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  const signature = await crypto.subtle.sign(algorithm, key, new TextEncoder().encode(signed));
  return `${signed}.${jose.base64url.encode(new Uint8Array(signature))}`;
}
