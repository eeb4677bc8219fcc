/** Limits of the secrets module. */
import { LIMITS } from "../base/index.ts";

export const SECRET_LIMITS = {
  /** Value of one secret, in bytes. */
  valueBytes: 16 * 1024,
  /** Name of a secret, in characters. */
  nameCharacters: 100,
  /** Description of a secret, in characters. */
  aboutCharacters: 500,
  /** Versions whose value is kept beside one that is being tried: the current one and the one before it. */
  keptVersions: 2,
  /** Longest time that the version before the current one is kept for, in seconds: a week. */
  graceSeconds: 7 * 86_400,
  /** Longest lease, in seconds, and most that one renewal gives. */
  leaseSeconds: LIMITS.tokenTtlSeconds,
  /** All that a lease may get by renewals, in seconds. */
  leaseLifeSeconds: 86_400,
  /** A lease that nobody named a time for, in seconds. */
  defaultLeaseSeconds: 900,
  /** What a lease is for, in characters. */
  purposeCharacters: 200,
  /** How often the value may be taken out under one lease. */
  leaseUses: 1_000_000,
  /** Leases that may be open in this process. */
  openLeases: 10_000,
  /** Of these, leases of one holder: nobody takes the room of all, the gateway's least. */
  openLeasesPerHolder: 1_000,
  /** Times that a record is written again when somebody else wrote it in between. */
  writeAttempts: 5,
  /**
   * Time between two looks for what another replica changed, beside the messages that tell of it, in milliseconds: what is
   * revoked ends within a second also where they are lost.
   */
  lookMilliseconds: 750,
  /** Time between two looks for leases of processes that are gone, in milliseconds. */
  storeSweepMilliseconds: 60_000,
  /** How long after its end a lease is left to the process that holds it, in milliseconds. */
  abandonedMilliseconds: 500,
  /** Id of a lease at the keeper of a secret, in characters. */
  upstreamIdCharacters: 1_000,
  /** How long a value that another keeper may change is used without a look there, in seconds. */
  keeperFreshSeconds: 20,
  /** Values that are looked for again at once. */
  looksAtOnce: 8,
  /** Where a value lives with a driver, in characters. */
  referenceCharacters: 1_000,
  /** Secrets, or leases, in one listing. */
  listed: 10_000,
  /** Records that are asked of the store at once. */
  pageRecords: 200,
  /** Public keys of callers that are kept as OpenSSL reads them. */
  recipientKeys: 256,
  /** Keepers of secrets that a server is configured with. */
  keepers: 32,
  /** A .env file, in bytes, and what is in it. */
  dotenvBytes: 1024 * 1024,
  dotenvEntries: 1_000,
  /** Ids of leases in one message to the other replicas; a message has 4,000 bytes. */
  messageIds: 80,
} as const;
