/** Limits of the audit log. */
export const AUDIT_LIMITS = {
  /** Canonical JSON of one event, in bytes. */
  eventBytes: 16 * 1024,
  /** Objects and lists inside each other in one event, in levels. */
  eventLevels: 32,
  /** Events that one transaction writes, in number and in bytes. */
  batchEvents: 512,
  batchBytes: 1024 * 1024,
  /** Events that wait to be written; beyond, callers are refused at once. */
  queuedEvents: 20_000,
  /** Entries that one question to `list` looks at; it tells where to go on. */
  scannedEntries: 20_000,
  /** Entries of one answer of `list`. */
  listedEntries: 500,
  /** Leaves of one export page, in number and in bytes. */
  pageLeaves: 2_000,
  pageBytes: 4 * 1024 * 1024,
  /** One line of an export file, in bytes: a leaf, or the line with the checkpoint. */
  lineBytes: 64 * 1024,
  /** A signed note, in bytes. */
  noteBytes: 16 * 1024,
  /** Signatures under one note. */
  noteSignatures: 16,
  /** Name of the log, in UTF-8 bytes. */
  originBytes: 200,
  /** Verifier key, in characters. */
  verifierKeyCharacters: 512,
  /** Hashes of one proof: twice the height of the largest tree. */
  proofHashes: 106,
  /** Batches that are read from the store at once. */
  readBatches: 64,
} as const;
