/** Limits of signatures. */
export const SIGNING_LIMITS = {
  bundleBytes: 64 * 1024 * 1024,
  resources: 1_000_000,
  keyFileBytes: 64 * 1024,
  trustedKeys: 100,
  trustedAuthorities: 100,
  trustedIdentities: 100,
  trustedRootBytes: 1024 * 1024,
  /** Logs or authorities of one kind in a trusted root. */
  trustedRootEntries: 64,
  /** Of a bundle: one certificate, and how many there may be from the signer's to the authority's. */
  certificateBytes: 64 * 1024,
  chainCertificates: 8,
  logEntries: 16,
  timestamps: 16,
  /** Findings that a report lists; the rest is counted. */
  findings: 1_000,
} as const;
