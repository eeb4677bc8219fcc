/** Limits of key services. */
export const BACKEND_LIMITS = {
  /** A secret to wrap. */
  wrappedKeyBytes: 1_024,
  keyFileBytes: 64 * 1024,
  /** Keys in one key file; the last one wraps, all unwrap. */
  keyFileVersions: 500,
} as const;
