/** Bytes that can be read at any place: a file on disk, bytes in memory, a part of either. */
import { files, fsSync, systemErrorCode } from "../../host/index.ts";
import { artifactError } from "../errors.ts";
import { FORMAT_LIMITS } from "./limits.ts";

export interface ByteSource {
  /** Length of the whole, in bytes. */
  readonly bytes: number;
  /** Bytes [start, start + length), shorter only at the end. The bytes must not be changed. */
  read(start: number, length: number): Uint8Array;
}

export function memorySource(bytes: Uint8Array): ByteSource {
  return { bytes: bytes.length, read: (start, length) => bytes.subarray(start, start + Math.max(0, length)) };
}

/** The part [start, end) of another source. */
export function sliceSource(source: ByteSource, start: number, end: number): ByteSource {
  const from = Math.min(start, source.bytes);
  const bytes = Math.max(0, Math.min(end, source.bytes) - from);
  return { bytes, read: (at, length) => source.read(from + at, Math.max(0, Math.min(length, bytes - at))) };
}

export interface FileSource extends ByteSource {
  close(): void;
}

/** Opens a regular file without following a link; fails with MODEL_NOT_READABLE. */
export async function openFileSource(path: string): Promise<FileSource> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fsSync.constants;
  let fd: number;
  try {
    if (!(await files.lstat(path)).isFile()) throw artifactError("MODEL_FILE_REFUSED", { detail: path });
    fd = fsSync.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const code = systemErrorCode(error);
    if (!code?.startsWith("E")) throw error;
    throw artifactError("MODEL_NOT_READABLE", { detail: `${path} (${code})`, cause: error });
  }
  const bytes = fsSync.fstatSync(fd).size;
  return {
    bytes,
    read: (start, length) => readAt(fd, start, Math.min(length, bytes - start)),
    close: () => fsSync.closeSync(fd),
  };
}

function readAt(fd: number, start: number, length: number): Uint8Array {
  const buffer = Buffer.allocUnsafe(Math.max(0, length));
  let done = 0;
  while (done < buffer.length) {
    const count = fsSync.readSync(fd, buffer, done, buffer.length - done, start + done);
    if (count === 0) break;
    done += count;
  }
  return buffer.subarray(0, done);
}

/** Reads a source forward through a window; running past the end throws HEADER_INVALID. */
export class Cursor {
  readonly #source: ByteSource;
  readonly #end: number;
  #window: Uint8Array = new Uint8Array(0);
  #windowStart = 0;
  position: number;

  constructor(source: ByteSource, start = 0, end: number = source.bytes) {
    this.#source = source;
    this.#end = Math.min(end, source.bytes);
    this.position = start;
  }

  get left(): number {
    return this.#end - this.position;
  }

  /** On its own path: interpreters of byte code read most of a file by single bytes. */
  u8(): number {
    const at = this.position - this.#windowStart;
    if (at < 0 || at >= this.#window.length || this.left < 1) return this.#view(1).getUint8(0);
    this.position++;
    return this.#window[at] ?? 0;
  }

  u16(): number {
    return this.#view(2).getUint16(0, true);
  }

  u32(): number {
    return this.#view(4).getUint32(0, true);
  }

  i32(): number {
    return this.#view(4).getInt32(0, true);
  }

  f32(): number {
    return this.#view(4).getFloat32(0, true);
  }

  f64(): number {
    return this.#view(8).getFloat64(0, true);
  }

  i64(): bigint {
    return this.#view(8).getBigInt64(0, true);
  }

  u64(): bigint {
    return this.#view(8).getBigUint64(0, true);
  }

  /** A 64-bit length; beyond `max` it throws HEADER_INVALID. */
  length(max: number, what: string): number {
    const value = this.u64();
    if (value > BigInt(max)) throw artifactError("HEADER_INVALID", { detail: `${what} is ${value}, at most ${max}` });
    return Number(value);
  }

  /** The next bytes; nothing is allocated before it is known that they are there. */
  take(length: number): Uint8Array {
    this.#need(length);
    const inWindow = this.position - this.#windowStart;
    const bytes =
      inWindow >= 0 && inWindow + length <= this.#window.length
        ? this.#window.subarray(inWindow, inWindow + length)
        : this.#source.read(this.position, length);
    if (bytes.length < length) throw artifactError("HEADER_INVALID", { detail: "the file ends early" });
    this.position += length;
    return bytes;
  }

  skip(length: number): void {
    this.#need(length);
    this.position += length;
  }

  /** Bytes up to the next line feed, which is read over; HEADER_INVALID when there is none within `maxBytes`. */
  line(maxBytes: number): Uint8Array {
    const start = this.position;
    for (let seen = 0; seen <= maxBytes && this.left > 0; ) {
      this.#fill(1);
      const rest = this.#window.subarray(this.position - this.#windowStart);
      const at = rest.indexOf(0x0a);
      if (at !== -1) {
        const length = seen + at;
        this.position = start;
        const bytes = this.take(length);
        this.position = start + length + 1;
        return bytes;
      }
      seen += rest.length;
      this.position += rest.length;
    }
    this.position = start;
    throw artifactError("HEADER_INVALID", { detail: "a line does not end" });
  }

  #need(length: number): void {
    if (length > this.left) throw artifactError("HEADER_INVALID", { detail: "the file ends early" });
  }

  #view(length: number): DataView {
    this.#need(length);
    this.#fill(length);
    const at = this.position - this.#windowStart;
    this.position += length;
    return new DataView(this.#window.buffer, this.#window.byteOffset + at, length);
  }

  #fill(length: number): void {
    const at = this.position - this.#windowStart;
    if (at >= 0 && at + length <= this.#window.length) return;
    this.#windowStart = this.position;
    this.#window = this.#source.read(this.position, Math.min(FORMAT_LIMITS.windowBytes, this.left));
    if (this.#window.length < length) throw artifactError("HEADER_INVALID", { detail: "the file ends early" });
  }
}
