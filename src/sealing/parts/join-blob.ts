/** Puts the ranges of one file together: where the store can, its bytes stay there; else they come here and are hashed. */
import { createHash } from "node:crypto";
import type { BlobPiece } from "../../artifact/index.ts";
import { ModelkeepError } from "../../base/index.ts";
import { rangeBytes } from "../batches.ts";
import { readAhead } from "../copy.ts";
import { SEGMENT_OVERHEAD_BYTES } from "../floe.ts";
import * as layout from "../layout.ts";
import type { SealOptions } from "../seal.ts";
import type { DividedRange } from "./divide.ts";
import type { PartsPlace, PlannedFile } from "./plan.ts";
import { deleteRecord, notOurs, type PieceRecord } from "./records.ts";

export interface SealedPiece {
  readonly range: DividedRange;
  readonly record: PieceRecord;
}

export interface BlobToJoin {
  readonly place: PartsPlace;
  readonly index: number;
  readonly planned: PlannedFile;
  /** Of FLOE, which the ranges follow. */
  readonly header: Uint8Array;
  readonly pieces: readonly SealedPiece[];
}

type Watch = Pick<SealOptions, "progress" | "signal">;

/** Throws PART_NOT_OURS for ranges that are not what their parts wrote; then the blob has no name yet. */
export async function joinBlob(watch: Watch, joined: BlobToJoin): Promise<void> {
  if (await joinInStore(watch, joined)) return;
  const { place, index, planned } = joined;
  const known = { bytes: layout.sealedBytes(planned.bytes), modelPath: planned.path };
  await place.store.write(blobOf(place, index), joinedChunks(watch, joined), known);
}

/**
 * The store says by its tags that a range is what its part wrote, which it had confirmed with a checksum. False where
 * it does not: then every byte is looked at.
 */
async function joinInStore({ progress }: Watch, joined: BlobToJoin): Promise<boolean> {
  const { place, index, planned, header, pieces } = joined;
  const { store, prefix } = place;
  const inStore = piecesInStore(joined);
  if (!store.join || !inStore || pieces.length === 0) return false;
  const bytes = layout.sealedBytes(planned.bytes);
  const scratch = layout.blobName(prefix, layout.pieceFolder(index));
  try {
    const made = await store.join(blobOf(place, index), [header, ...inStore], { bytes, scratch });
    if (made?.bytes !== bytes) return false;
  } catch (error) {
    if (error instanceof ModelkeepError && error.code === "BLOB_CHANGED") return false;
    throw error;
  }
  progress?.({ step: `join ${planned.path}`, done: bytes, total: bytes, unit: "bytes" });
  return true;
}

function piecesInStore({ place, planned, pieces }: BlobToJoin): BlobPiece[] | undefined {
  const found: BlobPiece[] = [];
  for (const { range, record } of pieces) {
    const bytes = rangeBytes(planned.bytes, range) + range.count * SEGMENT_OVERHEAD_BYTES;
    if (record.tag === null || record.blob === null) return undefined;
    found.push({ name: layout.blobName(place.prefix, record.blob), tag: record.tag, bytes });
  }
  return found;
}

function blobOf({ prefix }: PartsPlace, index: number): string {
  return layout.blobName(prefix, layout.fileName(index));
}

/** Ends in an error, before the blob has its name, when ranges are not the bytes that their parts wrote. */
async function* joinedChunks(
  { progress, signal }: Watch,
  { place, planned, header, pieces }: BlobToJoin,
): AsyncGenerator<Uint8Array> {
  yield header;
  let done = header.length;
  const total = layout.sealedBytes(planned.bytes);
  const wrong: number[] = [];
  for (const { range, record } of pieces) {
    const hash = createHash("sha256");
    for await (const chunk of chunksOf(place, record.blob)) {
      signal?.throwIfAborted();
      hash.update(chunk);
      if (wrong.length === 0) yield chunk;
      done += chunk.length;
      progress?.({ step: `join ${planned.path}`, done, total, unit: "bytes" });
    }
    if (hash.digest("hex") === record.sha256) continue;
    await deleteRecord(place, record);
    wrong.push(range.part);
  }
  if (wrong.length > 0) throw notOurs(wrong, planned.path);
}

/** None where it is gone. */
async function* chunksOf({ store, prefix }: PartsPlace, blob: string | null): AsyncGenerator<Uint8Array> {
  const name = layout.blobName(prefix, blob ?? "");
  if (!(await store.stat(name))) return;
  const opened = await store.open(name);
  try {
    yield* readAhead(opened);
  } finally {
    await opened.close();
  }
}
