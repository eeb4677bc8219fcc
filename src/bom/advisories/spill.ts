/** Records on their way into the index: their bytes in a file, where they lie outside of the heap. */
import { createHash } from "node:crypto";
import { type files, hostError, systemErrorCode } from "../../host/index.ts";

const FLUSH_BYTES = 256 * 1024;
const HASH_BYTES = 16;
const FIRST_ENTRIES = 4096;
const BUCKETS = 256;

/** Sixteen bytes of SHA-256: for names of packages, and for ids that were there before. */
export function shortHash(text: string): Buffer {
  return createHash("sha256").update(text).digest().subarray(0, HASH_BYTES);
}

/** Writes behind a buffer, and knows where it is. */
export class Appender {
  readonly handle: files.FileHandle;
  position = 0;
  #parts: Uint8Array[] = [];
  #held = 0;

  constructor(handle: files.FileHandle) {
    this.handle = handle;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#parts.push(bytes);
    this.#held += bytes.length;
    this.position += bytes.length;
    if (this.#held >= FLUSH_BYTES) await this.flush();
  }

  /** Throws FILE_UNWRITABLE. */
  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#held = 0;
    const start = this.position - bytes.length;
    // A disk that is full takes a part, and says so when it is asked for the rest.
    for (let done = 0; done < bytes.length; ) {
      const length = bytes.length - done;
      const { bytesWritten } = await this.handle.write(bytes, done, length, start + done).catch(unwritable);
      done += bytesWritten;
    }
  }

  async read(start: number, length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.handle.read(buffer, done, length - done, start + done);
      if (bytesRead === 0) throw new RangeError("the file ended before what was written");
      done += bytesRead;
    }
    return buffer;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

function unwritable(error: unknown): never {
  const detail = `an index of advisories (${systemErrorCode(error) ?? "unknown"})`;
  throw hostError("FILE_UNWRITABLE", { detail, cause: error });
}

/** Where a piece lies in the file. */
export interface Piece {
  readonly start: number;
  readonly length: number;
}

/** Entries of 32 bytes in one buffer that grows: an object for each would fill the heap. */
export class Entries {
  static readonly bytes = 32;
  #buffer = Buffer.alloc(Entries.bytes * FIRST_ENTRIES);
  count = 0;

  /** The room of the next entry, to be written into. */
  next(): Buffer {
    const used = this.count * Entries.bytes;
    if (used === this.#buffer.length) this.#buffer = Buffer.concat([this.#buffer, Buffer.alloc(used)]);
    return this.at(this.count++);
  }

  at(entry: number): Buffer {
    return this.#buffer.subarray(entry * Entries.bytes, (entry + 1) * Entries.bytes);
  }

  all(): Buffer {
    return this.#buffer.subarray(0, this.count * Entries.bytes);
  }
}

/** Places by hash: hash (16), offset (8), length (4), and four bytes that are not used. */
export class Places {
  readonly #entries = new Entries();

  add(hash: Uint8Array, { start, length }: Piece): void {
    const entry = this.#entries.next();
    entry.set(hash);
    entry.writeDoubleLE(start, HASH_BYTES);
    entry.writeUInt32LE(length, HASH_BYTES + 8);
  }

  /** In order of hash; the pieces of one hash in the order in which they came. */
  *groups(): Generator<{ readonly hash: Buffer; readonly pieces: readonly Piece[] }> {
    for (const order of this.#buckets()) {
      for (let first = 0; first < order.length; ) {
        const hash = this.#hash(order[first] ?? 0);
        let last = first;
        while (last < order.length && hash.equals(this.#hash(order[last] ?? 0))) last++;
        yield { hash, pieces: Array.from(order.subarray(first, last), (entry) => this.#piece(entry)) };
        first = last;
      }
    }
  }

  /** Sorted by the first byte in one pass, then each part by itself: a sort copies what it sorts onto the heap. */
  *#buckets(): Generator<Uint32Array> {
    const { count } = this.#entries;
    const bucketOf = (entry: number) => this.#entries.at(entry)[0] ?? 0;
    const next = new Uint32Array(BUCKETS + 1);
    for (let entry = 0; entry < count; entry++) next[bucketOf(entry) + 1] = (next[bucketOf(entry) + 1] ?? 0) + 1;
    for (let bucket = 0; bucket < BUCKETS; bucket++) next[bucket + 1] = (next[bucket + 1] ?? 0) + (next[bucket] ?? 0);
    const starts = next.slice();
    const order = new Uint32Array(count);
    for (let entry = 0; entry < count; entry++) {
      const bucket = bucketOf(entry);
      const at = next[bucket] ?? 0;
      order[at] = entry;
      next[bucket] = at + 1;
    }
    const compare = (a: number, b: number) => this.#hash(a).compare(this.#hash(b)) || a - b;
    for (let bucket = 0; bucket < BUCKETS; bucket++)
      yield order.subarray(starts[bucket], starts[bucket + 1]).sort(compare);
  }

  #hash(entry: number): Buffer {
    return this.#entries.at(entry).subarray(0, HASH_BYTES);
  }

  #piece(entry: number): Piece {
    const bytes = this.#entries.at(entry);
    return { start: bytes.readDoubleLE(HASH_BYTES), length: bytes.readUInt32LE(HASH_BYTES + 8) };
  }
}

/** A set of hashes in one buffer, half of it empty: a set of texts would fill the heap. */
export class HashSet {
  #slots = Buffer.alloc(HASH_BYTES * FIRST_ENTRIES);
  #count = 0;

  /** False when it was there. A hash that begins with eight zeros is never there. */
  add(hash: Buffer): boolean {
    if (this.#count * 2 * HASH_BYTES >= this.#slots.length) this.#grow();
    const at = this.#find(hash);
    if (!this.#isFree(at)) return false;
    this.#slots.set(hash, at);
    this.#count++;
    return true;
  }

  #find(hash: Buffer): number {
    const slots = this.#slots.length / HASH_BYTES;
    for (let slot = hash.readUInt32LE(0) % slots; ; slot = (slot + 1) % slots) {
      const at = slot * HASH_BYTES;
      if (this.#isFree(at) || hash.compare(this.#slots, at, at + HASH_BYTES) === 0) return at;
    }
  }

  #isFree(at: number): boolean {
    return this.#slots.readUInt32LE(at) === 0 && this.#slots.readUInt32LE(at + 4) === 0;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = Buffer.alloc(before.length * 2);
    for (let at = 0; at < before.length; at += HASH_BYTES) {
      const hash = before.subarray(at, at + HASH_BYTES);
      if (hash.readUInt32LE(0) !== 0 || hash.readUInt32LE(4) !== 0) this.#slots.set(hash, this.#find(hash));
    }
  }
}
