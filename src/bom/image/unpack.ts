/** What is packed with gzip or zstd, unpacked chunk by chunk. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { FileSource } from "../../artifact/index.ts";
import { BOM_LIMITS } from "../limits.ts";

const CHUNK_BYTES = 1024 * 1024;
const FREE_BYTES = 256 * 1024 * 1024;

export async function* chunksOf(source: FileSource, start: number, end: number): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; at += CHUNK_BYTES) yield source.read(at, Math.min(CHUNK_BYTES, end - at));
}

/** True for what unpacks further than anything that is honest. */
export function isTooFar(unpackedBytes: number, packedBytes: number, ratio: number = BOM_LIMITS.imageRatio): boolean {
  return unpackedBytes > FREE_BYTES && unpackedBytes > packedBytes * ratio;
}

type Unpack = (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

/** By the first bytes: what a media type says may be wrong. Undefined for what is not packed. */
export function unpackerOf(head: Uint8Array): Unpack | undefined {
  const make =
    head[0] === 0x1f && head[1] === 0x8b
      ? createGunzip
      : Buffer.from(head.subarray(0, 4)).equals(Buffer.from([0x28, 0xb5, 0x2f, 0xfd]))
        ? createZstdDecompress
        : undefined;
  if (!make) return undefined;
  return (chunks) => {
    const unpacker = make({ chunkSize: 64 * 1024 });
    pipeline(Readable.from(chunks), unpacker).catch((error: unknown) => {
      unpacker.destroy(error instanceof Error ? error : undefined);
    });
    return unpacker as AsyncIterable<Uint8Array>;
  };
}
