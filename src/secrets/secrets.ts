/** What the secrets module promises: named values, kept encrypted, handed out as leases. */
import type { EntityRef } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";

export interface SecretInfo {
  readonly name: string;
  readonly about: string;
  readonly version: number;
  /** Versions whose value is still kept, oldest first. */
  readonly versions: readonly { readonly version: number; readonly createdAt: number }[];
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface LeaseInfo {
  readonly id: string;
  readonly secretName: string;
  readonly version: number;
  readonly holder: EntityRef;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

export interface Lease extends LeaseInfo {
  /** Wiped at check-in, at the end of the time, and at revocation. */
  readonly key: GuardedBytes;
  /** Wipes the key and ends the lease; may be called twice. */
  checkIn(): Promise<void>;
}

export interface PutOptions {
  readonly about?: string;
  /** Who does it, for the audit log. */
  readonly by: EntityRef;
}

export interface LeaseOptions {
  readonly holder: EntityRef;
  /** 1 to SECRET_LIMITS.leaseSeconds. */
  readonly ttlSeconds?: number;
}

export interface SecretService {
  /** Makes the secret, or gives it one more version. `value` is wiped. */
  put(name: string, value: Uint8Array, options: PutOptions): Promise<SecretInfo>;
  /** One more version of a secret that exists; fails with SECRET_NOT_FOUND. `value` is wiped. */
  rotate(name: string, value: Uint8Array, options: PutOptions): Promise<SecretInfo>;
  list(): Promise<readonly SecretInfo[]>;
  find(name: string): Promise<SecretInfo | undefined>;
  /** Deletes every version and revokes every lease of it. */
  delete(name: string, options: { readonly by: EntityRef }): Promise<void>;
  lease(name: string, options: LeaseOptions): Promise<Lease>;
  /** Open leases on every replica. */
  listLeases(): Promise<readonly LeaseInfo[]>;
  /** Ends a lease of this or another process by its holder; fails with LEASE_NOT_FOUND. */
  checkIn(leaseId: string, holder: EntityRef): Promise<void>;
  /** Wipes the key on whichever replica it is held; fails with LEASE_NOT_FOUND. */
  revokeLease(leaseId: string, options: { readonly by: EntityRef }): Promise<void>;
  /** Told when a secret got a new version or was deleted, on this or another replica. Returns the end of it. */
  onChange(listener: (name: string) => void): () => void;
  /** Where a key that is held here stands in a line of the log, as UTF-8: what finds it can mask it. */
  findHeld(line: Buffer): readonly { readonly start: number; readonly end: number }[];
  /** Wipes every key that is held here. */
  close(): Promise<void>;
}
