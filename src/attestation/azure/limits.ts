/** Limits of evidence from Azure's confidential machines. */
export const AZURE_LIMITS = {
  /** The header of an HCL report. */
  headerBytes: 32,
  /** The hardware report in it, padded. */
  hardwareBytes: 1184,
  /** The head of the runtime data. */
  runtimeHeadBytes: 20,
  /** An HCL report as the TPM's memory holds it; 2600 today. */
  hclBytes: 16 * 1024,
  /** Keys that the runtime data names. */
  keys: 16,
  /** A TPM's attestation, in bytes. */
  quoteBytes: 1024,
  /** A TPM's signature, in bytes. */
  signatureBytes: 1024,
  /** Registers of a TPM. */
  pcrs: 24,
  /** Values that the profile names for one register. */
  pcrValues: 256,
  /** The chip's certificate, as text. */
  vcekCharacters: 32 * 1024,
  /** Evidence as JSON, in bytes. */
  evidenceBytes: 256 * 1024,
  /** A TD quote, as text. */
  tdQuoteCharacters: 48 * 1024,
} as const;
