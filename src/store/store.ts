/** What a store of records promises, whichever database is under it. */

export interface StoredRecord {
  readonly id: string;
  readonly value: Uint8Array;
  /** Grows by one with every write of this record; starts at 1. */
  readonly version: number;
}

export interface WriteCondition {
  /** The write only happens when the record is at this version; 0 means that it must not exist. Else VERSION_CONFLICT. */
  readonly ifVersion?: number;
}

export interface RecordPage {
  readonly records: readonly StoredRecord[];
  /** Pass as `after` to get what follows; absent on the last page. */
  readonly next?: string;
}

/** Reads and writes of one atomic unit. Ids are clear text in the database, values are not. */
export interface RecordTransaction {
  get(table: string, id: string): Promise<StoredRecord | undefined>;
  /** Returns the new version. */
  put(table: string, id: string, value: Uint8Array, condition?: WriteCondition): Promise<number>;
  /** True when there was something to delete. */
  delete(table: string, id: string): Promise<boolean>;
  /** In order of id (UTF-8 bytes); `limit` at most STORE_LIMITS.pageRecords. */
  list(
    table: string,
    options?: { readonly prefix?: string; readonly after?: string; readonly limit?: number },
  ): Promise<RecordPage>;
}

export interface RecordStore extends RecordTransaction {
  /** Serialisable: all of it or nothing, and as if alone. Resolves when it is durable. Retries conflicts itself. */
  transaction<T>(work: (tx: RecordTransaction) => Promise<T>): Promise<T>;
  /** Tells every replica, this one included; at most 4,000 bytes of text. */
  notify(channel: string, message: string): Promise<void>;
  /** Returns the function that ends the subscription. `onGap` is called when messages may have been missed. */
  subscribe(channel: string, onMessage: (message: string) => void, onGap: () => void): Promise<() => void>;
  /** Fails when the database does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
