/** Reads a connection into a block of ours that is wiped each time: Node would read into one that it frees as it is. */
import type { Readable } from "node:stream";

/** What is read from a connection at once. */
const READ_BYTES = 64 * 1024;

/** For `onread` of a socket; all connections of a pool may have the same. */
export function wipedReads() {
  return {
    buffer: Buffer.alloc(READ_BYTES),
    callback(this: Readable, length: number, bytes: Uint8Array): boolean {
      const read = Buffer.from(bytes.subarray(0, length));
      bytes.fill(0, 0, length);
      // Pieces that wait for each other are joined by a copy, of which nobody wipes the originals.
      const waiting: Buffer | null = this.readableLength > 0 ? this.read() : null;
      if (!waiting) return this.push(read);
      const joined = Buffer.concat([waiting, read]);
      for (const piece of [waiting, read]) piece.fill(0);
      return this.push(joined);
    },
  };
}
