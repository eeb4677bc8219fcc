/** A place for blobs under names: a folder, a bucket, a registry. Nothing in it is trusted. */

export interface BlobStat {
  readonly bytes: number;
}

/** One blob for many reads: however the name is given away meanwhile, it stays the same bytes where the store can do that. */
export interface OpenBlob {
  readonly bytes: number;
  /** Bytes [start, end), shorter only at its end; into `buffer` when there is one that is large enough. */
  read(start: number, end: number, buffer?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface BlobStore {
  /** The URI it was opened with, without credentials. */
  readonly uri: string;
  stat(name: string): Promise<BlobStat | undefined>;
  /** Fails with BLOB_NOT_FOUND. The caller closes it. */
  open(name: string): Promise<OpenBlob>;
  /** Bytes [start, end) of a blob; shorter only at its end. Fails with BLOB_NOT_FOUND. */
  read(name: string, start: number, end: number): Promise<Uint8Array>;
  /** Whole small blob; fails with LIMIT_EXCEEDED beyond `maxBytes`. */
  readAll(name: string, maxBytes: number): Promise<Uint8Array>;
  /**
   * Atomic: readers see the old blob or the whole new one. Resolves when durable. A chunk may still be on its way when
   * the next one is asked for, so its bytes must stay as they are.
   */
  write(name: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<BlobStat>;
  delete(name: string): Promise<boolean>;
  /** Names under the prefix, sorted. */
  list(prefix: string): AsyncIterable<string>;
  /** Removes what interrupted writes left under the prefix; to be called while nobody else writes there. */
  discardUnfinished(prefix: string): Promise<void>;
}
