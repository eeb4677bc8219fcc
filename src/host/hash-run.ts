/** The digests of adjoining parts of a file, in one pass. */
import { createHash } from "node:crypto";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { loadBlake3, type StreamHash } from "./blake3.ts";

export type HashName = "sha256" | "blake2b" | "blake3";

/** Parts [start, ends[0]), [ends[0], ends[1]), … in bytes. */
export interface FileRun {
  readonly path: string;
  readonly start: number;
  readonly ends: readonly number[];
  /** The file has no byte after the last part. */
  readonly isLast: boolean;
}

/** Lower-case hex of every part; undefined when the file is not as long as the run says. */
export type RunDigests = readonly string[] | undefined;

const CHUNK_BYTES = 1024 * 1024;
/** Without O_NONBLOCK a pipe that took the place of a file would hold the reader for ever. */
export const FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** BLAKE2b has 64 bytes and no key (RFC 7693). Undefined for BLAKE3 where its package is not there. */
export function findHash(name: HashName): (() => StreamHash) | undefined {
  if (name === "blake3") return loadBlake3();
  const algorithm = name === "blake2b" ? "blake2b512" : "sha256";
  return () => createHash(algorithm);
}

/** Cuts what it is given at the ends of the parts. */
export class PartHasher {
  readonly digests: string[] = [];
  readonly #make: () => StreamHash;
  readonly #ends: readonly number[];
  #position: number;
  #current: StreamHash;

  constructor(make: () => StreamHash, start: number, ends: readonly number[]) {
    this.#make = make;
    this.#ends = ends;
    this.#position = start;
    this.#current = make();
    this.#close();
  }

  /** What lies beyond the last end is left out. */
  update(bytes: Uint8Array): void {
    let rest = bytes;
    for (;;) {
      const end = this.#ends[this.digests.length];
      if (end === undefined || rest.length === 0) return;
      const take = rest.subarray(0, end - this.#position);
      this.#current.update(take);
      this.#position += take.length;
      rest = rest.subarray(take.length);
      this.#close();
    }
  }

  #close(): void {
    while (this.#ends[this.digests.length] === this.#position) {
      this.digests.push(this.#current.digest("hex"));
      if (this.digests.length < this.#ends.length) this.#current = this.#make();
    }
  }
}

/**
 * Holds two buffers for as many runs as it is given, one after the other. Throws system errors as they are. `told` gets
 * the bytes since it was last told.
 */
export class RunHasher {
  readonly #make: () => StreamHash;
  #buffers: readonly [Buffer, Buffer] | undefined;

  constructor(make: () => StreamHash) {
    this.#make = make;
  }

  /** Reads on another thread while this one hashes: for a run that would keep the other cores waiting. */
  async hashAhead(run: FileRun, told: (bytes: number) => void): Promise<RunDigests> {
    const handle = await open(run.path, FILE_FLAGS);
    try {
      return await this.#hashAhead(handle, run, told);
    } finally {
      await handle.close();
    }
  }

  async #hashAhead(handle: FileHandle, run: FileRun, told: (bytes: number) => void): Promise<RunDigests> {
    const { end, limit } = boundsOf(run);
    const parts = new PartHasher(this.#make, run.start, run.ends);
    const [first, second] = this.#room(limit - run.start);
    let position = run.start;
    let [filling, filled, spare] = [fill(handle, first, position, limit), first, second];
    for (;;) {
      const length = await filling;
      position += length;
      const isLast = length < filled.length || position >= limit;
      const chunk = filled.subarray(0, length);
      if (!isLast) filling = fill(handle, spare, position, limit);
      [filled, spare] = [spare, filled];
      try {
        parts.update(chunk);
        told(length);
      } catch (error) {
        await filling.catch(() => undefined);
        throw error;
      }
      if (isLast) return position === end ? parts.digests : undefined;
    }
  }

  /** Reads and hashes in turn, with the least work of all; yields the bytes of every chunk. */
  *hashInTurn(run: FileRun): Generator<number, RunDigests> {
    const file = openSync(run.path, FILE_FLAGS);
    try {
      const { end, limit } = boundsOf(run);
      const parts = new PartHasher(this.#make, run.start, run.ends);
      const [buffer] = this.#room(limit - run.start);
      let position = run.start;
      while (position < limit) {
        const length = readSync(file, buffer, 0, Math.min(buffer.length, limit - position), position);
        if (length === 0) break;
        position += length;
        parts.update(buffer.subarray(0, length));
        yield length;
      }
      return position === end ? parts.digests : undefined;
    } finally {
      closeSync(file);
    }
  }

  #room(bytes: number): readonly [Buffer, Buffer] {
    const wanted = Math.min(bytes, CHUNK_BYTES);
    const [there] = this.#buffers ?? [];
    if (this.#buffers && there && there.length >= wanted) return this.#buffers;
    this.#buffers = [Buffer.allocUnsafeSlow(wanted), Buffer.allocUnsafeSlow(wanted)];
    return this.#buffers;
  }
}

/** One byte more than the last part is asked for: a file that has it is longer than the run says. */
export function boundsOf({ start, ends, isLast }: FileRun): { end: number; limit: number } {
  const end = ends.at(-1) ?? start;
  return { end, limit: isLast ? end + 1 : end };
}

/** As much of the buffer as there is up to the limit. */
async function fill(handle: FileHandle, buffer: Buffer, position: number, limit: number): Promise<number> {
  const wanted = Math.min(buffer.length, limit - position);
  let length = 0;
  while (length < wanted) {
    const { bytesRead } = await handle.read(buffer, length, wanted - length, position + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}
