/** What an interrupted sealing had finished, file by file; believed only with the package key's own code and a second look. */
import { createHash, createHmac, hkdfSync } from "node:crypto";
import type { BlobStore } from "../artifact/index.ts";
import { equalBytes, fromHex, parseJson, toHex, utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import { FLOE_HEADER_BYTES } from "./floe.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

/** A place in a store, and the key of the package that is made there. */
export interface JournalPlace {
  readonly store: BlobStore;
  readonly prefix: string;
  readonly packageKey: GuardedBytes;
}

export async function writeJournal(place: JournalPlace, index: number, file: layout.SealedFile): Promise<void> {
  const text = utf8(JSON.stringify({ file, mac: toHex(macOf(place.packageKey, file)) }));
  await place.store.write(nameOf(place, index), [text]);
}

/** Undefined for what is not there, not ours, about another file, or not as it was left. */
export async function readJournal(
  place: JournalPlace,
  index: number,
  expected: { readonly path: string; readonly sha256: string },
): Promise<layout.SealedFile | undefined> {
  const name = nameOf(place, index);
  if (!(await place.store.stat(name))) return undefined;
  const file = parse(await place.store.readAll(name, SEALING_LIMITS.journalBytes), place.packageKey);
  const same = file && file.path === expected.path && file.sha256 === expected.sha256;
  return same && isPlacedAt(file, index) && (await isThere(place, file)) ? file : undefined;
}

export async function deleteJournal(place: Omit<JournalPlace, "packageKey">, index: number): Promise<void> {
  await place.store.delete(nameOf(place, index));
}

/** Lengths, header tag and segment hashes of a sealed file; its segments are only read when it is opened. */
export async function isThere(place: Omit<JournalPlace, "packageKey">, file: layout.SealedFile): Promise<boolean> {
  const { store, prefix } = place;
  const blob = layout.blobName(prefix, file.blob);
  const leavesName = layout.blobName(prefix, file.leaves);
  const stat = await store.stat(blob);
  const leavesStat = await store.stat(leavesName);
  const leavesBytes = layout.segmentCount(file.bytes) * layout.LEAF_BYTES;
  if (stat?.bytes !== layout.sealedBytes(file.bytes) || leavesStat?.bytes !== leavesBytes) return false;
  const header = await store.read(blob, 0, FLOE_HEADER_BYTES);
  const leaves = await store.read(leavesName, 0, leavesBytes);
  const leavesDigest = createHash("sha256").update(leaves).digest("hex");
  return toHex(header).endsWith(file.header_tag) && leavesDigest === file.leaves_sha256;
}

function isPlacedAt(file: layout.SealedFile, index: number): boolean {
  return file.blob === layout.fileName(index) && file.leaves === layout.leavesName(index);
}

function nameOf({ prefix }: { readonly prefix: string }, index: number): string {
  return layout.blobName(prefix, layout.journalName(index));
}

function parse(text: Uint8Array, packageKey: GuardedBytes): layout.SealedFile | undefined {
  const parsed = layout.journalEntry.safeParse(parseOrNull(text));
  if (!parsed.success) return undefined;
  const { file, mac } = parsed.data;
  return equalBytes(fromHex(mac) ?? new Uint8Array(0), macOf(packageKey, file)) ? file : undefined;
}

function parseOrNull(text: Uint8Array): unknown {
  try {
    return parseJson(text, { what: "journal", maxBytes: SEALING_LIMITS.journalBytes });
  } catch {
    return null;
  }
}

function macOf(packageKey: GuardedBytes, file: layout.SealedFile): Uint8Array {
  return packageKey.use((key) => {
    const macKey = new Uint8Array(hkdfSync("sha256", key, new Uint8Array(0), utf8("modelkeep journal mac v1"), 32));
    const mac = createHmac("sha256", macKey).update(jcs(file)).digest();
    macKey.fill(0);
    return new Uint8Array(mac);
  });
}
