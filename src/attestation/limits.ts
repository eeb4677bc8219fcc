/** Limits of the attestation module. */
export const ATTESTATION_LIMITS = {
  /** What an environment binds into its evidence, in bytes. */
  reportDataBytes: 64,
  /** Evidence of a processor, in bytes: a quote, an event log of 1 MiB in base64, and collateral that came along. */
  evidenceBytes: 2 * 1024 * 1024,
  /** Evidence of all devices of a machine, in bytes; 8 GPUs and 4 switches have about 250 KiB. */
  deviceEvidenceBytes: 1024 * 1024,
  /** What devices sign of a challenge, in bytes. */
  deviceNonceBytes: 32,
  /** Development evidence, in bytes. */
  insecureEvidenceBytes: 256 * 1024,
  /** A launch description, in bytes. */
  launchBytes: 16 * 1024,
  /** Words of the program in a launch description. */
  programWords: 256,
  /** One word of it, in characters. */
  wordCharacters: 4096,
} as const;
