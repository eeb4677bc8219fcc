/** Cuts a stream of chunks into parts of one size, and says which is the last. */
import type { StoreLimits } from "../../backends/index.ts";
import { baseError } from "../../base/index.ts";
import type { BlobChunks } from "../blob-store.ts";

export interface Part {
  readonly bytes: Uint8Array;
  readonly isLast: boolean;
}

const MIB = 1024 * 1024;

/** Parts of one size, whole MiB, so that a blob of that length has no more parts than are allowed; else LIMIT_EXCEEDED. */
export function partBytesFor(bytes: number | undefined, limits: StoreLimits): number {
  if (bytes === undefined) return Math.max(limits.partBytes, Math.min(limits.unknownPartBytes, limits.partBytes * 2));
  const least = Math.ceil(bytes / (limits.parts * 0.9));
  if (least > limits.largestPartBytes)
    throw baseError("LIMIT_EXCEEDED", { detail: `a blob of ${bytes} bytes is larger than stores take` });
  return least <= limits.partBytes ? limits.partBytes : Math.ceil(least / MIB) * MIB;
}

/** Each part has memory of its own. Nothing comes of an empty stream. */
export async function* partsOf(chunks: BlobChunks, partBytes: number): AsyncGenerator<Part, void> {
  let full: Uint8Array | undefined;
  let room = new Uint8Array(0);
  let length = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      if (full) {
        yield { bytes: full, isLast: false };
        full = undefined;
      }
      if (length === room.length)
        room = grown(room, length, Math.min(partBytes, length + chunk.length - at), partBytes);
      const piece = chunk.subarray(at, at + room.length - length);
      room.set(piece, length);
      length += piece.length;
      at += piece.length;
      if (length < partBytes) continue;
      full = room;
      room = new Uint8Array(0);
      length = 0;
    }
  }
  const last = full ?? (length > 0 ? room.subarray(0, length) : undefined);
  if (last) yield { bytes: last, isLast: true };
}

/** Small blobs take no whole part's memory. */
function grown(old: Uint8Array, length: number, least: number, most: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(most, Math.max(least, length * 4)));
  larger.set(old.subarray(0, length));
  return larger;
}
