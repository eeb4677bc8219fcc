/** Files that one part sealed alone: whoever joins looks whether they are still what that part wrote. */

import { ModelkeepError } from "../../base/index.ts";
import { LEAF_BYTES, type SealThreads } from "../../host/index.ts";
import { FLOE_1_MIB, FLOE_HEADER_BYTES, Floe } from "../floe.ts";
import { deleteJournal } from "../journal.ts";
import * as layout from "../layout.ts";
import { startOpening, usableLeafHash } from "../open.ts";
import { openSegments } from "../open-file.ts";
import type { SealOptions } from "../seal.ts";
import type { PartsPlace } from "./plan.ts";
import { notOurs } from "./records.ts";

export interface WholeFile {
  readonly joined: layout.SealedFile;
  /** What the store called its blob when it was written; undefined for what was joined before. */
  readonly tag: string | null | undefined;
  readonly part: number;
}

type Watch = Pick<SealOptions, "progress" | "signal" | "random">;

/**
 * By the store's tag where it has one. Else, and where another run of the same part wrote the blob again, by opening
 * every segment, of which nothing goes anywhere. Throws PART_NOT_OURS, BLAKE3_MISSING.
 */
export async function checkWholeFiles(
  watch: Watch,
  place: PartsPlace,
  leafHash: layout.LeafHashName,
  pieces: readonly (object | undefined)[],
): Promise<void> {
  const opened: [number, WholeFile][] = [];
  for (const [index, piece] of pieces.entries())
    if (piece && isWhole(piece) && !(await isUntouched(place, piece))) opened.push([index, piece]);
  if (opened.length === 0) return;
  const threads = await startOpening(opened.reduce((sum, [, { joined }]) => sum + joined.bytes, 0));
  try {
    for (const [index, file] of opened) await checkOne({ watch, place, leafHash, threads }, index, file);
  } finally {
    await threads.close();
  }
}

function isWhole(piece: object): piece is WholeFile {
  return "joined" in piece;
}

async function isUntouched({ store, prefix }: PartsPlace, { joined, tag }: WholeFile): Promise<boolean> {
  if (tag === undefined) return true;
  return tag !== null && (await store.stat(layout.blobName(prefix, joined.blob)))?.tag === tag;
}

interface Check {
  readonly watch: Watch;
  readonly place: PartsPlace;
  readonly leafHash: layout.LeafHashName;
  readonly threads: SealThreads;
}

async function checkOne(check: Check, index: number, { joined: file, part }: WholeFile): Promise<void> {
  const { place, threads, watch } = check;
  const { store, prefix, packageKey, packageId } = place;
  const told = (done: number) =>
    watch.progress?.({ step: `check ${file.path}`, done, total: file.bytes, unit: "bytes" });
  const blob = await store.open(layout.blobName(prefix, file.blob));
  const key = layout.fileKey(packageKey, packageId, file.path);
  try {
    const header = await blob.read(0, FLOE_HEADER_BYTES);
    using floe = Floe.decrypt(key, layout.fileAad(packageId, file.path), FLOE_1_MIB, header, watch.random);
    const out = { write: async () => {}, close: async () => {} };
    await openSegments(
      threads,
      { file, floe, blob, out, ...(await leavesOf(check, file)) },
      { signal: watch.signal, told },
    );
  } catch (error) {
    if (!(error instanceof ModelkeepError && error.code === "SEALED_TAMPERED")) throw error;
    await deleteJournal(place, index);
    throw notOurs(part, file.path);
  } finally {
    key.fill(0);
    await blob.close();
  }
}

/** The list is the one of the record: that was looked at when the record was. */
async function leavesOf({ place: { store, prefix }, leafHash }: Check, file: layout.SealedFile) {
  const hashes = layout.leafHashesOf(leafHash);
  const usable = usableLeafHash({ leafHash });
  const list = layout.segmentCount(file.bytes) * LEAF_BYTES;
  const at = hashes.indexOf(usable) * list;
  return { leafHash: usable, leaves: await store.read(layout.blobName(prefix, file.leaves), at, at + list) };
}
