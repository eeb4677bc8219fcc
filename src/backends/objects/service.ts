/** What every bucket can do, whoever runs it: one object at a time, in parts, and pages of names. */

export interface ObjectInfo {
  readonly bytes: number;
  /** Names this very content: ETag, generation or digest. Another one may hold the same bytes, never the other way round. */
  readonly tag: string;
}

/** `absent`: only where there is nothing yet. A tag: only where it is still that. */
export type PutCondition = { readonly absent: true } | { readonly tag: string } | undefined;

export interface PutResult {
  /** The service said with a checksum of its own that it holds what was sent. */
  readonly confirmed: boolean;
}

/** One object that is sent in parts; nobody sees it before `finish`. */
export interface PartUpload {
  /** Whether the parts must come one after the other. */
  readonly inOrder: boolean;
  /** `number` from 1. All parts but the last have one length. */
  send(number: number, bytes: Uint8Array, isLast: boolean): Promise<void>;
  finish(): Promise<PutResult>;
  /** Gives the parts back; never throws. */
  abort(): Promise<void>;
}

/** Bytes of ours, or the object of that name as it was under that tag, `length` bytes long. */
export type ObjectPiece =
  | { readonly bytes: Uint8Array }
  | { readonly name: string; readonly tag: string; readonly length: number };

/** Errors of all: STORE_* of `errors.ts`; conditions that do not hold throw BLOB_EXISTS. */
export interface ObjectService {
  stat(name: string): Promise<ObjectInfo | undefined>;
  /**
   * Bytes [start, end) into the buffer; how many there were. Throws BLOB_CHANGED when the object has another tag,
   * BLOB_NOT_FOUND is the caller's to say: `undefined` when it is gone.
   */
  read(name: string, tag: string, range: { start: number; end: number }, into: Uint8Array): Promise<number | undefined>;
  put(name: string, bytes: Uint8Array, condition: PutCondition): Promise<PutResult>;
  putParts(name: string, condition: PutCondition): Promise<PartUpload>;
  /**
   * One object of the pieces, one after the other, whose bytes do not come here; `scratch` begins the names of what is
   * written on the way and deleted again. BLOB_CHANGED for a piece that has another tag by now. False, and nothing is
   * done, where this service turns out not to know how; absent where none of the kind does.
   */
  join?(name: string, pieces: readonly ObjectPiece[], condition: PutCondition, scratch: string): Promise<boolean>;
  /** False where there was nothing; true also where a try whose answer was lost may have deleted it. */
  delete(name: string): Promise<boolean>;
  /** One page of names that begin with the prefix; `next` is the place of the following page. */
  list(prefix: string, from: string | undefined): Promise<{ names: string[]; next: string | undefined }>;
  /** Gives back the parts of uploads that nobody finished. */
  discardUnfinished(prefix: string): Promise<void>;
}
