/** What the secrets module promises: named values, kept encrypted or elsewhere, handed out as leases. */
import type { EntityRef } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";

/** What every lease of a secret must keep to, beside policy. */
export interface LeaseRules {
  /** A longer lease is shortened to it; 1 to SECRET_LIMITS.leaseSeconds. */
  readonly maxTtlSeconds?: number | undefined;
  /** How often the value may be taken out under one lease. */
  readonly maxUses?: number | undefined;
  /** Leases that may be open at once, on all replicas together. */
  readonly maxLeases?: number | undefined;
  /** Nobody gets one without saying what it is for. */
  readonly purposeRequired?: boolean | undefined;
  /** Where a driver lends the value: every lease has one of its own there. */
  readonly unshared?: boolean | undefined;
}

export interface SecretInfo {
  readonly name: string;
  readonly about: string;
  readonly version: number;
  /** A version that is being tried. */
  readonly candidate?: number;
  /** When the version before the current one is dropped. */
  readonly graceUntil?: number;
  /** Versions whose value is still kept, oldest first. */
  readonly versions: readonly { readonly version: number; readonly createdAt: number; readonly driver: string }[];
  readonly rules: LeaseRules;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface LeaseInfo {
  readonly id: string;
  readonly secretName: string;
  readonly version: number;
  readonly holder: EntityRef;
  readonly purpose?: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** What the check-out or the last renewal gave. */
  readonly ttlSeconds: number;
  /** How often the value was taken out; the check-out is the first time. */
  readonly uses: number;
  readonly maxUses?: number;
  readonly renewals: number;
}

export interface Lease extends LeaseInfo {
  /** Wiped at check-in, at the end of the time, and at revocation. */
  readonly key: GuardedBytes;
  /** Wipes the key and ends the lease; may be called twice. */
  checkIn(): Promise<void>;
}

export interface ByOptions {
  /** Who does it, for the audit log. */
  readonly by: EntityRef;
}

export interface PutOptions extends ByOptions {
  readonly about?: string;
  /** Replaces the rules of the secret. */
  readonly rules?: LeaseRules;
}

export interface RotateOptions extends ByOptions {
  /** How long the version before stays, at most SECRET_LIMITS.graceSeconds; until the next rotation when absent. */
  readonly graceSeconds?: number;
}

export interface LeaseOptions {
  readonly holder: EntityRef;
  /** 1 to SECRET_LIMITS.leaseSeconds. */
  readonly ttlSeconds?: number;
  /** At most SECRET_LIMITS.purposeCharacters, without control characters. */
  readonly purpose?: string;
  readonly maxUses?: number;
  /** Thumbprint of the holder's key whose token asks: with that key the lease can be ended, see LeaseFilter. */
  readonly boundTo?: string;
  /** The version that is being tried in place of the current one. */
  readonly candidate?: boolean;
}

/** One of these. */
export type LeaseFilter =
  | { readonly leaseId: string }
  /** With a key those that its tokens took. */
  | { readonly holder: EntityRef; readonly boundTo?: string }
  /** With a version those of the server itself stay: it is told, and lets go when its requests have ended. */
  | { readonly secretName: string; readonly version?: number }
  /** Of the secret's name. */
  | { readonly prefix: string };

export interface SecretService {
  /** Makes the secret, or gives it one more version. `value` is wiped. */
  put(name: string, value: Uint8Array, options: PutOptions): Promise<SecretInfo>;
  /** A secret, or one more version of it, whose value stays with a driver. Fails with SECRET_DRIVER_UNKNOWN. */
  link(
    name: string,
    at: { readonly driver: string; readonly reference: string },
    options: PutOptions,
  ): Promise<SecretInfo>;
  /** One more version of a secret that exists; fails with SECRET_NOT_FOUND. `value` is wiped. */
  rotate(name: string, value: Uint8Array, options: RotateOptions): Promise<SecretInfo>;
  /** One more version that is only leased as `candidate`; fails with SECRET_NOT_FOUND. `value` is wiped. */
  stage(name: string, value: Uint8Array, options: ByOptions): Promise<SecretInfo>;
  /** Makes the version that is being tried the current one; fails with SECRET_VERSION_MISSING. */
  promote(name: string, options: RotateOptions): Promise<SecretInfo>;
  /**
   * Drops the version that is being tried, or else the current one in favour of the one before it, and ends the leases
   * of what was dropped. Fails with SECRET_VERSION_MISSING.
   */
  rollBack(name: string, options: ByOptions): Promise<SecretInfo>;
  /** Drops the versions before the current one, and ends their leases. */
  retire(name: string, options: ByOptions): Promise<SecretInfo>;
  /** Holds for leases from now on. Fails with LEASE_RULES_INVALID. */
  setRules(name: string, rules: LeaseRules, options: ByOptions): Promise<SecretInfo>;
  list(): Promise<readonly SecretInfo[]>;
  find(name: string): Promise<SecretInfo | undefined>;
  /** Deletes every version and revokes every lease of it. */
  delete(name: string, options: ByOptions): Promise<void>;
  lease(name: string, options: LeaseOptions): Promise<Lease>;
  /** An open lease of this holder; fails with LEASE_NOT_FOUND. */
  findLease(leaseId: string, holder: EntityRef): Promise<LeaseInfo>;
  /** Takes the value out once more; the caller wipes it. Fails with LEASE_NOT_FOUND or LEASE_USED_UP. */
  use(leaseId: string, holder: EntityRef): Promise<{ readonly lease: LeaseInfo; readonly key: GuardedBytes }>;
  /** `ttlSeconds` from now on, if the lease's life and the secret's rules allow. LEASE_NOT_FOUND, LEASE_LIFE_OVER. */
  renew(leaseId: string, options: { readonly holder: EntityRef; readonly ttlSeconds?: number }): Promise<LeaseInfo>;
  /** Open leases on every replica. */
  listLeases(): Promise<readonly LeaseInfo[]>;
  /** Ends a lease of this or another process by its holder; fails with LEASE_NOT_FOUND. */
  checkIn(leaseId: string, holder: EntityRef): Promise<void>;
  /** Wipes the key on whichever replica it is held; fails with LEASE_NOT_FOUND. */
  revokeLease(leaseId: string, options: ByOptions): Promise<void>;
  /** Ends every lease that the filter holds for, and returns their ids. */
  revoke(filter: LeaseFilter, options: ByOptions): Promise<readonly string[]>;
  /** Told when a secret got a new version or was deleted, on this or another replica. Returns the end of it. */
  onChange(listener: (name: string) => void): () => void;
  /** Where a key that is held here stands in a line of the log, also encoded: what finds it can mask it. */
  findHeld(line: Buffer): readonly { readonly start: number; readonly end: number }[];
  /** Wipes every key that is held here. */
  close(): Promise<void>;
}
