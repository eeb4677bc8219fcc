/** Limits of keyless signing. */
export const KEYLESS_LIMITS = {
  tokenBytes: 16 * 1024,
  signingConfigBytes: 256 * 1024,
  /** Services of one kind in a signing configuration. */
  services: 64,
  urlCharacters: 2_048,
  /** Of any service's answer. */
  answerBytes: 1024 * 1024,
  /** Certificates in an answer of the authority. */
  certificates: 8,
  /** Hashes of an inclusion proof: a log of 2^64 entries has no more. */
  proofHashes: 64,
  checkpointCharacters: 64 * 1024,
  nonceBytes: 16,
  /** How far this machine's clock and a service's may differ. */
  clockSkewMilliseconds: 60_000,
  identityMilliseconds: 10_000,
  certificateMilliseconds: 30_000,
  timestampMilliseconds: 30_000,
  /** A log answers when its next checkpoint is out. */
  logMilliseconds: 60_000,
  /** Of one request that may be repeated. */
  attempts: 3,
  /** The first wait before a repeat; it doubles. */
  backoffMilliseconds: 500,
} as const;

/** The limits that a caller may set otherwise: times and counts. */
export type KeylessLimits = { readonly [K in keyof typeof KEYLESS_LIMITS]: number };
