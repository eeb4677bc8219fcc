/** Limits of the store. */
export const STORE_LIMITS = {
  tableCharacters: 64,
  idBytes: 1_024,
  valueBytes: 16 * 1024 * 1024,
  pageRecords: 1_000,
  messageBytes: 4_000,
  /** Tries of a transaction that conflicts with others. */
  transactionTries: 20,
  /** Tries to begin a transaction in an SQLite file that another store writes to, 3 milliseconds apart. */
  busyTries: 2_000,
  connectTimeoutMs: 10_000,
  statementTimeoutMs: 30_000,
  connections: 10,
} as const;
