/** Limits of signatures. */
export const SIGNING_LIMITS = {
  bundleBytes: 64 * 1024 * 1024,
  /** Values in a bundle's arrays and objects; the statement in it is text and counts as one. */
  bundleValues: 10_000,
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
  timestampBytes: 64 * 1024,
  /** Trusted times at which a path is tried, the earliest ones: anybody gets more of them for nothing. */
  trustedTimes: 4,
  /** How far ahead of this machine's clock a timestamp may be, in milliseconds. */
  timestampSkewMs: 5 * 60 * 1000,
  urlCharacters: 2_048,
  /** A revocation list as a file, and how many there may be. */
  crlBytes: 4 * 1024 * 1024,
  crls: 64,
  /** A signer policy or a training descriptor, and how many of its problems are told. */
  policyBytes: 256 * 1024,
  policyProblems: 20,
  policyRules: 500,
  policySigners: 100,
  /** Signatures and statements beside a model's signature. */
  siblings: 64,
  /** One statement beside a signature. */
  statementBytes: 16 * 1024 * 1024,
  /** Findings that a report lists; the rest is counted. */
  findings: 1_000,
} as const;
