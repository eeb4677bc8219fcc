/** Limits of attestation results. */
export const EAR_LIMITS = {
  /** How long a result is valid at most, in seconds. */
  longestLifeSeconds: 24 * 3_600,
  /** How long it is valid when nobody says it, in seconds. */
  lifeSeconds: 300,
  /** A nonce, in bytes (RFC 9711, eat_nonce). */
  nonceBytes: { least: 8, most: 64 },
  /** How much longer than the longest life an ended key stays published, in seconds: it may just have signed. */
  publishSlackSeconds: 300,
  /** Keys of a server that are published at once: the one in use, and those whose tokens have not ended. */
  publishedKeys: 32,
  /** A token, in bytes. */
  tokenBytes: 256 * 1024,
} as const;
