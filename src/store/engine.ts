/** What a database engine gives the store: rows of ciphertext in transactions, and messages between replicas. */

export interface Row {
  readonly id: string;
  readonly version: number;
  readonly value: Uint8Array;
}

export interface EngineTransaction {
  get(table: string, id: string): Promise<Row | undefined>;
  /** Inserts or replaces. */
  put(table: string, row: Row): Promise<void>;
  delete(table: string, id: string): Promise<boolean>;
  list(table: string, prefix: string, after: string | undefined, limit: number): Promise<Row[]>;
}

export interface Engine {
  /** Serialisable; the work may run more than once. */
  transaction<T>(work: (tx: EngineTransaction) => Promise<T>): Promise<T>;
  /** A read outside of any transaction. */
  readonly reader: Pick<EngineTransaction, "get" | "list">;
  notify(channel: string, message: string): Promise<void>;
  subscribe(channel: string, onMessage: (message: string) => void, onGap: () => void): Promise<() => void>;
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Schema changes in order; each runs once. Both engines have as many. */
export const SCHEMA_VERSION = 1;
