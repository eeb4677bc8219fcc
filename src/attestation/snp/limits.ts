/** Limits of SEV-SNP evidence. */
export const SNP_LIMITS = {
  /** An attestation report, exactly (AMD 56860, ATTESTATION_REPORT). */
  reportBytes: 0x4a0,
  /** What the guest bound into its report. */
  reportDataBytes: 64,
  /** The part of it that the platform's key signs. */
  signedBytes: 0x2a0,
  /** A certificate table, as the host hands it to the guest. */
  tableBytes: 64 * 1024,
  /** Evidence as JSON, with its certificates as lists of numbers, in bytes. */
  jsonBytes: 256 * 1024,
  /** Entries of a certificate table. */
  tableEntries: 16,
  /** Certificates of one judgement: the evidence's and the configuration's. */
  certificates: 32,
  /** One certificate; AMD's have about 1700. */
  certificateBytes: 8 * 1024,
  /** Revocation lists of one judgement. */
  crls: 16,
  /** One revocation list. */
  crlBytes: 256 * 1024,
  /** Values of one list of the profile. */
  profileEntries: 1024,
} as const;
