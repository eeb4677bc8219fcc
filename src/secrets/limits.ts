/** Limits of the secrets module. */
import { LIMITS } from "../base/index.ts";

export const SECRET_LIMITS = {
  /** Value of one secret, in bytes. */
  valueBytes: 16 * 1024,
  /** Description of a secret, in characters. */
  aboutCharacters: 500,
  /** Versions whose value is kept: the current one and the one before it. */
  keptVersions: 2,
  /** Longest lease, in seconds. */
  leaseSeconds: LIMITS.tokenTtlSeconds,
  /** A lease that nobody named a time for, in seconds. */
  defaultLeaseSeconds: 900,
  /** Leases that may be open in this process. */
  openLeases: 10_000,
  /** Of these, leases of one holder: nobody takes the room of all, the gateway's least. */
  openLeasesPerHolder: 1_000,
  /** Time between two looks for ended leases, in milliseconds. */
  sweepMilliseconds: 1000,
  /** Time between two looks for what another replica changed, beside the messages that tell of it, in milliseconds. */
  lookMilliseconds: 5_000,
  /** Time between two looks for leases of processes that are gone, in milliseconds. */
  storeSweepMilliseconds: 60_000,
  /** How long after its end a lease is left to the process that holds it, in milliseconds. */
  abandonedMilliseconds: 60_000,
  /** Secrets, or leases, in one listing. */
  listed: 10_000,
  /** Records that are asked of the store at once. */
  pageRecords: 200,
} as const;
