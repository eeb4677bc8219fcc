/** The tokens that this process has read from the store, for no longer than half a second. */
import { type Caller, type Clock, type EntityRef, entityText } from "../base/index.ts";
import type { RecordStore } from "../store/index.ts";
import { TOKEN_LIMITS } from "./limits.ts";
import { idOf, readToken, sameHash, TABLES, type TokenRecord } from "./records.ts";

export interface LiveToken {
  readonly record: TokenRecord;
  readonly caller: Caller;
  /** On the clock that only grows: when the store was asked, and when the token ends whatever the date says. */
  readonly askedAt: number;
  readonly endsAt: number;
}

/**
 * A message of a revocation drops a token at once. Because a message can be lost, the store is asked again after
 * TOKEN_LIMITS.cacheMilliseconds; when it does not answer, the error goes to the caller and nobody passes.
 */
export class TokenCache {
  readonly #store: Pick<RecordStore, "get">;
  readonly #clock: Clock;
  readonly #live = new Map<string, LiveToken>();
  readonly #asking = new Map<string, Promise<LiveToken | undefined>>();
  #generation = 0;

  constructor(store: Pick<RecordStore, "get">, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** `hash` is the SHA-256 of the token, hex. */
  find(hash: string): LiveToken | undefined | Promise<LiveToken | undefined> {
    const live = this.#live.get(hash);
    if (live && this.#clock.monotonic() - live.askedAt < TOKEN_LIMITS.cacheMilliseconds) return this.#ifAlive(live);
    const asking = this.#asking.get(hash);
    if (asking) return asking;
    const asked = this.#ask(hash, live).finally(() => {
      if (this.#asking.get(hash) === asked) this.#asking.delete(hash);
    });
    this.#asking.set(hash, asked);
    return asked;
  }

  async #ask(hash: string, before: LiveToken | undefined): Promise<LiveToken | undefined> {
    const askedAt = this.#clock.monotonic();
    const generation = this.#generation;
    const stored = await this.#store.get(TABLES.tokens, idOf("tok", hash));
    const record = stored && readToken(stored.value);
    this.#live.delete(hash);
    if (!record || !sameHash(record.hash, hash)) return undefined;
    const endsAt = Math.min(before?.endsAt ?? Number.POSITIVE_INFINITY, askedAt + record.expiresAt - this.#clock.now());
    const live: LiveToken = { record, caller: before?.caller ?? callerOf(record), askedAt, endsAt };
    if (generation === this.#generation) this.#keep(hash, live);
    return this.#ifAlive(live);
  }

  #keep(hash: string, live: LiveToken): void {
    const oldest = this.#live.size >= TOKEN_LIMITS.cachedTokens ? this.#live.keys().next() : undefined;
    if (oldest && !oldest.done) this.#live.delete(oldest.value);
    this.#live.set(hash, live);
  }

  /** By both clocks; a token from the future was issued while the machine's clock was wrong. */
  #ifAlive(live: LiveToken): LiveToken | undefined {
    const now = this.#clock.now();
    const { issuedAt, expiresAt } = live.record;
    const alive =
      now < expiresAt &&
      issuedAt <= now + TOKEN_LIMITS.issuedAheadSeconds * 1000 &&
      this.#clock.monotonic() < live.endsAt;
    return alive ? live : undefined;
  }

  dropPrincipal(principal: string): void {
    this.#forgetAsked();
    for (const [hash, live] of this.#live) {
      if (entityText(live.record.principal) === principal) this.#live.delete(hash);
    }
  }

  clear(): void {
    this.#forgetAsked();
    this.#live.clear();
  }

  /** An answer that is under way may be older than the change: it is not kept, and nobody else waits for it. */
  #forgetAsked(): void {
    this.#generation++;
    this.#asking.clear();
  }
}

function callerOf(record: TokenRecord): Caller {
  const principal: EntityRef = Object.freeze({ ...record.principal });
  return Object.freeze({
    principal,
    groups: Object.freeze([...record.groups]),
    tokenId: record.id,
    expiresAt: record.expiresAt,
    keyThumbprint: record.thumbprint,
  });
}
