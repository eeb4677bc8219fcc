/** Limits of signatures. */
export const SIGNING_LIMITS = {
  bundleBytes: 64 * 1024 * 1024,
  resources: 1_000_000,
  keyFileBytes: 64 * 1024,
  trustedKeys: 100,
  /** Findings that a report lists; the rest is counted. */
  findings: 1_000,
} as const;
