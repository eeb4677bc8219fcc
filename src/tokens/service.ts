/** The token service: records in the store, tokens in memory for half a second, revocations told to every replica. */
import {
  type AuditEvent,
  type Caller,
  type Clock,
  type EntityRef,
  entityText,
  type Log,
  ModelkeepError,
  type Random,
  type Recorder,
  toBase64Url,
} from "../base/index.ts";
import type { RecordStore, RecordTransaction } from "../store/index.ts";
import { TokenCache } from "./cache.ts";
import { tokenError } from "./errors.ts";
import { readAssertionJwt, readGrant } from "./grant.ts";
import * as ledger from "./ledger.ts";
import { TOKEN_LIMITS } from "./limits.ts";
import { checkCodeTtl, checkGroups, checkPrincipal, isPrincipalName } from "./names.ts";
import { type ProofKeyInfo, ProofVerifier } from "./proof.ts";
import { type CodeRecord, hashOf, idOf, readPrincipal, readToken, TABLES, type TokenRecord } from "./records.ts";
import { sweepEnded } from "./sweep.ts";
import type {
  EnrolOptions,
  ExchangeRequest,
  IssuedToken,
  OneTimeCode,
  PrincipalRef,
  ProvenRequest,
  Revoked,
  RevokeTarget,
  TokenInfo,
  TokenService,
} from "./tokens.ts";

export interface TokenServiceOptions {
  readonly store: RecordStore;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Life of an access token; TOKEN_LIMITS.tokenTtlSeconds when absent, at most TOKEN_LIMITS.maxTokenTtlSeconds. */
  readonly tokenTtlSeconds?: number;
}

/** Every replica listens here for the principal of which something was revoked. */
const CHANNEL = "tokens";
const FIRST_ADMIN: PrincipalRef = { type: "Admin", id: "admin" };
const SERVER: EntityRef = { type: "Server", id: "local" };

export async function createTokenService(options: TokenServiceOptions): Promise<TokenService> {
  const service = new StoredTokens(options);
  await service.start();
  return service;
}

class StoredTokens implements TokenService {
  readonly #options: TokenServiceOptions;
  readonly #ttlSeconds: number;
  readonly #cache: TokenCache;
  readonly #proofs: ProofVerifier;
  #unsubscribe: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #refusals = { minute: 0, count: 0 };

  constructor(options: TokenServiceOptions) {
    this.#options = options;
    this.#ttlSeconds = Math.min(
      options.tokenTtlSeconds ?? TOKEN_LIMITS.tokenTtlSeconds,
      TOKEN_LIMITS.maxTokenTtlSeconds,
    );
    this.#cache = new TokenCache(options.store, options.clock);
    this.#proofs = new ProofVerifier(options.clock);
  }

  async start(): Promise<void> {
    this.#unsubscribe = await this.#options.store.subscribe(
      CHANNEL,
      (principal) => this.#cache.dropPrincipal(principal),
      () => this.#cache.clear(),
    );
    this.#timer = setInterval(() => void this.#sweep(), TOKEN_LIMITS.sweepMilliseconds).unref();
  }

  async enrol(options: EnrolOptions): Promise<OneTimeCode> {
    const principal = checkPrincipal(options.principal);
    const groups = checkGroups(options.groups);
    const ttlSeconds = checkCodeTtl(options.ttlSeconds ?? TOKEN_LIMITS.codeTtlSeconds);
    const expiresAt = this.#options.clock.now() + ttlSeconds * 1000;
    const data = { groups, ttlSeconds };
    return this.#issueCode({ principal, groups, by: entityText(options.by), expiresAt }, data, async () => {});
  }

  async bootstrap(): Promise<OneTimeCode | undefined> {
    if (await this.#hasAdmin()) return undefined;
    const now = this.#options.clock.now();
    const expiresAt = now + TOKEN_LIMITS.bootstrapTtlSeconds * 1000;
    const code = { principal: FIRST_ADMIN, groups: ["admins"], by: entityText(SERVER), expiresAt };
    return this.#issueCode(code, { groups: code.groups, bootstrap: true }, async (tx) => {
      const before = await tx.get(TABLES.principals, entityText(FIRST_ADMIN));
      for (const open of before ? readPrincipal(before.value).codes : []) await ledger.dropCode(tx, open.id, now);
    });
  }

  /** The code is in the store before it is written down, and is nobody's when it cannot be written down. */
  async #issueCode(
    record: Omit<CodeRecord, "hash">,
    data: Record<string, unknown>,
    prepare: (tx: RecordTransaction) => Promise<void>,
  ): Promise<OneTimeCode> {
    const { store, clock, random } = this.#options;
    const code = `mkc_${toBase64Url(random.bytes(TOKEN_LIMITS.codeBytes))}`;
    const hash = hashOf(code);
    await store.transaction(async (tx) => {
      await prepare(tx);
      await ledger.addCode(tx, { ...record, hash }, clock.now());
    });
    try {
      await this.#record("token.enrol", record.by, record.principal, data);
    } catch (error) {
      await store.transaction((tx) => ledger.dropCode(tx, idOf("code", hash), clock.now()));
      throw error;
    }
    return { code, expiresAt: record.expiresAt };
  }

  async #hasAdmin(): Promise<boolean> {
    const prefix = "Admin::";
    const { records } = await this.#options.store.list(TABLES.principals, { prefix, limit: TOKEN_LIMITS.pageRecords });
    const now = this.#options.clock.now();
    return records
      .filter((record) => record.id.startsWith(prefix))
      .some((record) => readPrincipal(record.value).keys.some((key) => !ledger.isIdle(key, now)));
  }

  async exchange(request: ExchangeRequest): Promise<IssuedToken> {
    try {
      const grant = readGrant(request.form);
      const proof = this.#proofs.read(request.dpop, { method: "POST", url: request.url });
      const key = proof && this.#proofs.verify(proof);
      if (!key) throw tokenError("INVALID_DPOP_PROOF");
      const issued =
        grant.kind === "code"
          ? await this.#redeem(grant.codeHash, key)
          : await this.#renew(grant.assertion, key, request.url);
      this.#proofs.remember(proof, key);
      return issued;
    } catch (error) {
      await this.#recordRefusal(error);
      throw error;
    }
  }

  async #redeem(codeHash: string, key: ProofKeyInfo): Promise<IssuedToken> {
    const { accessToken, fresh } = this.#newToken(key.thumbprint);
    const token = await this.#options.store.transaction((tx) => ledger.redeemCode(tx, codeHash, fresh));
    if (!token) throw tokenError("INVALID_GRANT");
    return this.#issue(accessToken, token, { enrolled: true });
  }

  async #renew(text: string, key: ProofKeyInfo, url: string): Promise<IssuedToken> {
    const now = Math.floor(this.#options.clock.now() / 1000);
    const assertion = readAssertionJwt(text, { ...key, audience: new URL(url).origin, now });
    if (!assertion) throw tokenError("INVALID_GRANT");
    const { accessToken, fresh } = this.#newToken(key.thumbprint);
    const token = await this.#options.store.transaction((tx) => ledger.renewToken(tx, assertion, fresh));
    if (!token) throw tokenError("INVALID_GRANT");
    return this.#issue(accessToken, token, {});
  }

  #newToken(thumbprint: string): { accessToken: string; fresh: ledger.NewToken } {
    const accessToken = `mkt_${toBase64Url(this.#options.random.bytes(TOKEN_LIMITS.tokenBytes))}`;
    const issuedAt = this.#options.clock.now();
    const expiresAt = issuedAt + this.#ttlSeconds * 1000;
    return { accessToken, fresh: { hash: hashOf(accessToken), thumbprint, issuedAt, expiresAt } };
  }

  /** The token is in the store before it is written down, and is nobody's when it cannot be written down. */
  async #issue(accessToken: string, token: TokenRecord, more: Record<string, unknown>): Promise<IssuedToken> {
    const { id: tokenId, principal, groups, thumbprint } = token;
    const data = { token: tokenId, key: thumbprint, groups, ...more };
    try {
      await this.#record("token.issue", entityText(principal), principal, data);
    } catch (error) {
      await this.#options.store.transaction(async (tx) => {
        if (more.enrolled) await ledger.revokeToken(tx, tokenId, token.issuedAt);
        else await tx.delete(TABLES.tokens, tokenId);
      });
      throw error;
    }
    return { accessToken, tokenId, expiresInSeconds: this.#ttlSeconds, principal, groups };
  }

  async authenticate(request: ProvenRequest): Promise<Caller> {
    let caller: Caller | undefined;
    try {
      caller = await this.#check(request);
    } catch (error) {
      if (error instanceof ModelkeepError && error.code === "TOO_MANY_PROOFS") throw error;
      throw tokenError("TOKEN_STORE_UNAVAILABLE", { cause: error });
    }
    if (!caller) throw tokenError("TOKEN_REFUSED");
    return caller;
  }

  /** Cheap checks first, then memory or store, then the signature. */
  async #check({ authorization, dpop, method, url }: ProvenRequest): Promise<Caller | undefined> {
    const [, accessToken] = /^DPoP (mkt_[A-Za-z0-9_-]{43})$/i.exec(authorization ?? "") ?? [];
    if (accessToken === undefined) return undefined;
    const hash = hashOf(accessToken);
    const ath = Buffer.from(hash, "hex").toString("base64url");
    const proof = this.#proofs.read(dpop, { method, url, ath });
    if (!proof) return undefined;
    const found = this.#cache.find(hash);
    const live = found instanceof Promise ? await found : found;
    if (!live || live.record.thumbprint !== proof.thumbprint) return undefined;
    return this.#proofs.accept(proof) ? live.caller : undefined;
  }

  async list(): Promise<readonly TokenInfo[]> {
    const now = this.#options.clock.now();
    const found: TokenInfo[] = [];
    let after: string | undefined;
    do {
      const page = await this.#options.store.list(TABLES.tokens, {
        limit: TOKEN_LIMITS.pageRecords,
        ...(after ? { after } : {}),
      });
      const tokens = page.records.map((record) => readToken(record.value));
      found.push(...tokens.filter((token) => token.expiresAt > now).map(toInfo));
      after = page.next;
    } while (after && found.length < TOKEN_LIMITS.listed);
    return found.slice(0, TOKEN_LIMITS.listed);
  }

  async show(tokenId: string): Promise<TokenInfo | undefined> {
    const record = isTokenId(tokenId) ? await this.#options.store.get(TABLES.tokens, tokenId) : undefined;
    const token = record && readToken(record.value);
    return token && token.expiresAt > this.#options.clock.now() ? toInfo(token) : undefined;
  }

  async revoke(target: RevokeTarget, options: { readonly by: EntityRef }): Promise<Revoked> {
    const { store, clock } = this.#options;
    const byToken = "tokenId" in target;
    if (byToken && !isTokenId(target.tokenId)) throw tokenError("TOKEN_NOT_FOUND");
    if (!byToken && !isPrincipalName(target.principal.id)) throw tokenError("PRINCIPAL_NOT_FOUND");
    const revoked = await store.transaction((tx) =>
      byToken ? ledger.revokeToken(tx, target.tokenId, clock.now()) : ledger.revokePrincipal(tx, target.principal),
    );
    if (!revoked) throw tokenError(byToken ? "TOKEN_NOT_FOUND" : "PRINCIPAL_NOT_FOUND");
    await this.#tell(entityText(revoked.principal));
    const { principal, codes, keys, tokens } = revoked;
    const data = { codes, keys, tokens, ...(byToken ? { token: target.tokenId } : {}) };
    await this.#record("token.revoke", entityText(options.by), principal, data);
    return revoked;
  }

  /** It is revoked already: a message that cannot be sent only costs the others the rest of their half second. */
  async #tell(principal: string): Promise<void> {
    this.#cache.dropPrincipal(principal);
    try {
      await this.#options.store.notify(CHANNEL, principal);
    } catch (error) {
      this.#options.log.warn("a revocation could not be told to the other replicas", { principal, error });
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#unsubscribe?.();
    this.#cache.clear();
  }

  async #sweep(): Promise<void> {
    try {
      await sweepEnded(this.#options.store, this.#options.clock);
    } catch (error) {
      this.#options.log.warn("ended tokens could not be swept", { error });
    }
  }

  async #record(action: string, by: string, of: EntityRef, data: AuditEvent["data"] & object): Promise<void> {
    const resource = entityText(of);
    await this.#options.recorder.record({ action, outcome: "allowed", principal: by, resource, data });
  }

  /** A stranger can cause these: a few each minute are written down, and none of what was sent. */
  async #recordRefusal(error: unknown): Promise<void> {
    const reason = error instanceof ModelkeepError ? error.code : "INTERNAL";
    const minute = Math.floor(this.#options.clock.monotonic() / 60_000);
    if (minute !== this.#refusals.minute) this.#refusals = { minute, count: 0 };
    const tooMany = this.#refusals.count++ >= TOKEN_LIMITS.recordedRefusalsPerMinute;
    this.#options.log[tooMany ? "debug" : "warn"]("a token exchange was refused", { reason });
    if (tooMany) return;
    const event = { action: "token.issue", principal: 'Stranger::"unknown"', resource: entityText(SERVER) };
    try {
      await this.#options.recorder.record({ ...event, outcome: "refused", reason: [reason] });
    } catch (failure) {
      this.#options.log.warn("a refused token exchange could not be written down", { error: failure });
    }
  }
}

function isTokenId(text: string): boolean {
  return /^tok_[0-9a-f]{32}$/.test(text);
}

function toInfo(token: TokenRecord): TokenInfo {
  const { id, principal, groups, issuedAt, expiresAt, thumbprint } = token;
  return { id, principal, groups, issuedAt, expiresAt, keyThumbprint: thumbprint };
}
