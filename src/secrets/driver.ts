/** Where the value of a secret lives: the store of the server, or another keeper of secrets that may lend it for a time. */
import type { GuardedBytes } from "../host/index.ts";

/** What a keeper of secrets lent: it ends there by itself, and is given back as soon as nobody here needs it. */
export interface UpstreamLease {
  /** By which the keeper knows it; at most SECRET_LIMITS.upstreamIdCharacters. Not a secret, and kept in the store. */
  readonly id: string;
  /** From now on. */
  readonly ttlSeconds: number;
  readonly renewable: boolean;
}

export interface DriverValue {
  /** The caller wipes it. */
  readonly key: GuardedBytes;
  /** Absent for a value that stands still, whose lease is ours alone. */
  readonly lease?: UpstreamLease;
  /** For a value that may be changed where it is kept: after so long it is looked for again while it is in use. */
  readonly freshSeconds?: number;
}

/**
 * A driver that lends has `renew` and `revoke`. They take the id and not the lease: it must be given back also by a
 * process that was started after the one that took it had been killed.
 */
export interface SecretDriver {
  /** For example `embedded`; kept with each version, so that one secret can move from driver to driver. */
  readonly kind: string;
  /** Keeps a value and returns the reference under which it can be read. Absent where values are made elsewhere. */
  write?(value: GuardedBytes): Promise<string>;
  /** Throws SECRET_REFERENCE_INVALID for what can be no reference of this driver. Asked before one is kept. */
  check?(reference: string): void;
  /** Into guarded memory, every buffer on the way wiped. Fails with SECRET_NOT_FOUND. */
  read(reference: string, wanted: { readonly ttlSeconds: number }): Promise<DriverValue>;
  /** Forgets a value that `write` kept; nothing happens when there is none. */
  delete?(reference: string): Promise<void>;
  /** Returns the seconds that the lease has from now on: the keeper may give less than was asked. */
  renew?(leaseId: string, ttlSeconds: number): Promise<number>;
  /** Ends the lease upstream; one that is not there any more is none to fail for. */
  revoke?(leaseId: string): Promise<void>;
}
