/** Limits of collateral. */
export const COLLATERAL_LIMITS = {
  /** Files of one appraisal or one cache folder. */
  files: 512,
  /** One file, in bytes. */
  fileBytes: 1024 * 1024,
  /** All files together, in bytes. */
  totalBytes: 32 * 1024 * 1024,
  /** Folders below the one that was named. */
  folderDepth: 3,
  /** How long collateral is used before its files are looked at again, in seconds. */
  reloadSeconds: 60,
  /** A signed bundle of them, in bytes. */
  bundleBytes: 64 * 1024 * 1024,
  /** One request to a vendor's service, in milliseconds. */
  requestMs: 30_000,
  /** How often the same thing is asked for when the service is busy. */
  attempts: 4,
  /** Before the second attempt, in milliseconds; doubled with each one after. */
  backOffMs: 500,
  /** Longest wait that a service can ask for, in milliseconds. */
  longestWaitMs: 30_000,
} as const;
