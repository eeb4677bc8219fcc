/** A place for blobs under names: a folder, a bucket, a registry. Nothing in it is trusted. */

export interface BlobStat {
  readonly bytes: number;
  /** Names this very content in this store, where it has such a name: for `unchanged` of a later write. */
  readonly tag?: string;
  /** Lower-case hex, where the store keeps blobs under their digests. */
  readonly sha256?: string;
}

export interface WrittenBlob {
  readonly bytes: number;
  /** The store itself said, with a checksum over what it holds, that this is what was written. */
  readonly confirmed: boolean;
}

export interface WriteOptions {
  /** Only where there is nothing under that name yet: BLOB_EXISTS otherwise. */
  readonly absent?: boolean;
  /** Only where the blob still has the tag of that `stat`: BLOB_EXISTS otherwise. Stores without tags do not look. */
  readonly unchanged?: string;
  /** How long it will be, where that is known: large blobs are cut into parts that fit. */
  readonly bytes?: number;
  /** The file of the model that the blob is about, for stores that show such things. */
  readonly modelPath?: string;
}

/** A file of this machine that threads of this process read or write by themselves, at places of their own. */
export interface LocalFile {
  readonly descriptor: number;
  /** How its owner calls a system error with that code. */
  error(code: string): Error;
}

/** One blob for many reads: however the name is given away meanwhile, it stays the same bytes where the store can do that. */
export interface OpenBlob {
  readonly bytes: number;
  /** Bytes [start, end), shorter only at its end; into `buffer` when there is one that is large enough. */
  read(start: number, end: number, buffer?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
  /** Until it is closed; where the blob is a file of this machine. */
  readonly local?: LocalFile;
}

/** Bytes, or the blob of that name as it was under that tag, `bytes` long. */
export type BlobPiece = Uint8Array | { readonly name: string; readonly tag: string; readonly bytes: number };

export interface JoinOptions extends WriteOptions {
  /** Begins the names of what is written on the way, and deleted again unless the writer is killed. */
  readonly scratch: string;
}

export type BlobChunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

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
  write(name: string, chunks: BlobChunks, options?: WriteOptions): Promise<WrittenBlob>;
  /** As `write`, of what `fill` puts into a new file of this machine; where the store is a folder. */
  writeLocal?(name: string, fill: (file: LocalFile) => Promise<void>): Promise<WrittenBlob>;
  /**
   * As `write`, of pieces that are in this store already: their bytes stay there. BLOB_CHANGED for one that has another
   * tag by now. Undefined, and nothing is done, where the service turns out not to know how; absent where none of the
   * kind does.
   */
  join?(name: string, pieces: readonly BlobPiece[], options: JoinOptions): Promise<WrittenBlob | undefined>;
  delete(name: string): Promise<boolean>;
  /** Names under the prefix, sorted. */
  list(prefix: string): AsyncIterable<string>;
  /** Removes what interrupted writes left under the prefix; to be called while nobody else writes there. */
  discardUnfinished(prefix: string): Promise<void>;
}
