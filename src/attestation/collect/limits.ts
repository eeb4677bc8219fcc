/** Limits of collecting evidence. */
export const COLLECT_LIMITS = {
  /** What the kernel hands out as report or quote, in bytes. */
  outblobBytes: 64 * 1024,
  /** The certificate table beside a report, in bytes. */
  auxblobBytes: 64 * 1024,
  /** How often a collection is begun again when somebody else wrote in between. */
  attempts: 5,
  /** Between two of them, in milliseconds. */
  retryMs: 50,
  /** The name of a provider, or a counter, in bytes. */
  wordBytes: 64,
  /** What nvattest prints of one class of devices, in bytes. */
  deviceEvidenceBytes: 1024 * 1024,
  /** What a program prints that answers one question, in bytes. */
  answerBytes: 16 * 1024,
  /** What Azure's address in the guest answers, in bytes. */
  metadataBytes: 128 * 1024,
  /** How long it may take, in milliseconds. */
  metadataMs: 15_000,
  /** How long a program may take that collects evidence, in milliseconds. */
  programMs: 60_000,
} as const;
