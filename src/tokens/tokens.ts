/** What the token service promises: enrolment by a one-time code, exchange, proof of possession, revocation. */
import type { Caller, EntityRef } from "../base/index.ts";

export interface PrincipalRef {
  readonly type: "Workload" | "Admin";
  readonly id: string;
}

/** A code that enrols one key, once. Shown to one person; never logged. */
export interface OneTimeCode {
  readonly code: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export interface EnrolOptions {
  readonly principal: PrincipalRef;
  readonly groups: readonly string[];
  readonly by: EntityRef;
  readonly ttlSeconds?: number;
}

export interface ExchangeRequest {
  readonly form: URLSearchParams;
  readonly dpop: string | undefined;
  /** Absolute URL as the client addressed it; its origin is the audience of a renewal. */
  readonly url: string;
}

export interface IssuedToken {
  readonly accessToken: string;
  readonly tokenId: string;
  readonly expiresInSeconds: number;
  readonly principal: PrincipalRef;
  readonly groups: readonly string[];
}

export interface TokenInfo {
  readonly id: string;
  readonly principal: PrincipalRef;
  readonly groups: readonly string[];
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly keyThumbprint: string;
}

export type RevokeTarget = { readonly tokenId: string } | { readonly principal: EntityRef };

export interface Revoked {
  readonly principal: PrincipalRef;
  readonly codes: number;
  readonly keys: number;
  readonly tokens: number;
}

export interface ProvenRequest {
  readonly authorization: string | undefined;
  readonly dpop: string | undefined;
  readonly method: string;
  /** Absolute URL as the client addressed it. */
  readonly url: string;
}

export interface TokenService {
  /** Fails with PRINCIPAL_INVALID or TOKEN_LIMIT. */
  enrol(options: EnrolOptions): Promise<OneTimeCode>;
  /** For `Admin::"admin"`, in place of an older code that was not used; undefined while an administrator is enrolled. */
  bootstrap(): Promise<OneTimeCode | undefined>;
  /** RFC 8693. Fails with INVALID_GRANT, INVALID_DPOP_PROOF, INVALID_REQUEST or UNSUPPORTED_GRANT_TYPE, and says no more. */
  exchange(request: ExchangeRequest): Promise<IssuedToken>;
  /**
   * RFC 9449, section 7. Whatever is wrong with the token or its proof is one and the same TOKEN_REFUSED; a store that
   * cannot be asked is TOKEN_STORE_UNAVAILABLE, so that nobody passes unchecked.
   */
  authenticate(request: ProvenRequest): Promise<Caller>;
  list(): Promise<readonly TokenInfo[]>;
  show(tokenId: string): Promise<TokenInfo | undefined>;
  /**
   * By token: the token, the key it is bound to, and that key's other tokens, since the key could renew. By principal:
   * all its tokens, keys and open codes. Every replica refuses within TOKEN_LIMITS.cacheMilliseconds.
   */
  revoke(target: RevokeTarget, options: { readonly by: EntityRef }): Promise<Revoked>;
  close(): Promise<void>;
}
