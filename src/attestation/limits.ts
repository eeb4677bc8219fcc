/** Limits of the attestation module. */
export const ATTESTATION_LIMITS = {
  /** What an environment binds into its evidence, in bytes. */
  reportDataBytes: 64,
  /** Evidence of any kind, in bytes: a quote with its certificate chains. */
  evidenceBytes: 256 * 1024,
  /** A launch description, in bytes. */
  launchBytes: 16 * 1024,
  /** Words of the program in a launch description. */
  programWords: 256,
  /** One word of it, in characters. */
  wordCharacters: 4096,
} as const;
