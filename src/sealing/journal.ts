/** What an interrupted sealing had finished, file by file; believed only with the package key's own code and a second look. */
import { createHash } from "node:crypto";
import type { z } from "zod";
import type { BlobStore } from "../artifact/index.ts";
import { equalBytes, fromHex, parseJson, toHex, utf8 } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import { codeOf } from "./authentication.ts";
import { FLOE_HEADER_BYTES } from "./floe.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

type JournalEntry = z.output<typeof layout.journalEntry>;

/** A place in a store, and the key of the package that is made there. */
export interface JournalPlace {
  readonly store: BlobStore;
  readonly prefix: string;
  readonly packageKey: GuardedBytes;
}

export async function writeJournal(
  place: JournalPlace,
  index: number,
  file: layout.SealedFile,
  leafHash: layout.LeafHashName,
  tag?: string | null,
): Promise<void> {
  const entry = { file, leaf_hash: leafHash, ...(tag === undefined ? {} : { tag }) };
  const text = utf8(JSON.stringify({ ...entry, mac: toHex(macOf(place.packageKey, entry)) }));
  await place.store.write(nameOf(place, index), [text]);
}

/** Undefined for what is not there, not ours, about another file or hash, or not as it was left. */
export async function readJournal(
  place: JournalPlace,
  index: number,
  expected: { readonly path: string; readonly sha256: string; readonly leafHash: layout.LeafHashName },
): Promise<layout.SealedFile | undefined> {
  return (await readJournalEntry(place, index, expected))?.file;
}

/** With what the store called its blob when it was written, where that was kept. */
export async function readJournalEntry(
  place: JournalPlace,
  index: number,
  expected: { readonly path: string; readonly sha256: string; readonly leafHash: layout.LeafHashName },
): Promise<Pick<JournalEntry, "file" | "tag"> | undefined> {
  const name = nameOf(place, index);
  if (!(await place.store.stat(name))) return undefined;
  const { file, leaf_hash, tag } =
    parse(await place.store.readAll(name, SEALING_LIMITS.journalBytes), place.packageKey) ?? {};
  const same = file && file.path === expected.path && file.sha256 === expected.sha256;
  if (!same || leaf_hash !== expected.leafHash || !isPlacedAt(file, index)) return undefined;
  if (!(await isThere(place, file))) return undefined;
  return tag === undefined ? { file } : { file, tag };
}

/** Whatever it says. */
export async function hasJournal(place: Omit<JournalPlace, "packageKey">, index: number): Promise<boolean> {
  return (await place.store.stat(nameOf(place, index))) !== undefined;
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
  if (stat?.bytes !== layout.sealedBytes(file.bytes) || !leavesStat) return false;
  if (leavesStat.bytes > layout.leavesBytes(file.bytes, layout.leafHashesOf("sha256+blake3"))) return false;
  const header = await store.read(blob, 0, FLOE_HEADER_BYTES);
  const leaves = await store.read(leavesName, 0, leavesStat.bytes);
  const leavesDigest = createHash("sha256").update(leaves).digest("hex");
  return toHex(header).endsWith(file.header_tag) && leavesDigest === file.leaves_sha256;
}

function isPlacedAt(file: layout.SealedFile, index: number): boolean {
  return file.blob === layout.fileName(index) && file.leaves === layout.leavesName(index);
}

function nameOf({ prefix }: { readonly prefix: string }, index: number): string {
  return layout.blobName(prefix, layout.journalName(index));
}

function parse(text: Uint8Array, packageKey: GuardedBytes): Omit<JournalEntry, "mac"> | undefined {
  const parsed = layout.journalEntry.safeParse(parseOrNull(text));
  if (!parsed.success) return undefined;
  const { mac, ...entry } = parsed.data;
  return equalBytes(fromHex(mac) ?? new Uint8Array(0), macOf(packageKey, entry)) ? entry : undefined;
}

function parseOrNull(text: Uint8Array): unknown {
  try {
    return parseJson(text, { what: "journal", maxBytes: SEALING_LIMITS.journalBytes });
  } catch {
    return null;
  }
}

function macOf(packageKey: GuardedBytes, entry: Omit<JournalEntry, "mac">): Uint8Array {
  return codeOf(packageKey, "modelkeep journal mac v1", entry);
}
