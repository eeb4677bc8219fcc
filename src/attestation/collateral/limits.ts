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
} as const;
