/** What a part says it finished of a file that several share: a range that it sealed, or the file that it hashed. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { equalBytes, fromHex, parseJson, type Random, toHex, utf8 } from "../../base/index.ts";
import { codeOf } from "../authentication.ts";
import { sealingError } from "../errors.ts";
import * as layout from "../layout.ts";
import { SEALING_LIMITS } from "../limits.ts";
import type { PartsPlace } from "./plan.ts";

const PURPOSE = "modelkeep parts piece mac v1";

const body = z.strictObject({
  plan: layout.hex32,
  file: z.int().nonnegative(),
  /** Of its first segment; -1 for the digests of the whole file. */
  first: z.int().min(-1),
  /** The name of the blob of encrypted segments, and their SHA-256; null for digests. */
  blob: z.string().max(128).nullable(),
  sha256: layout.hex32.nullable(),
  /** Of the blob when it was written; null where the store has none, or confirmed nothing. */
  tag: z.string().max(512).nullable(),
  leaves: z.string().max(128),
  leaves_sha256: layout.hex32,
});

const schema = body.extend({ mac: layout.hex32 });

export type PieceRecord = z.output<typeof body>;

export interface Piece {
  readonly plan: string;
  readonly file: number;
  readonly first: number;
}

export const WHOLE_FILE = -1;

/** Two who work on the same piece never write the same blob, and the later record stands. */
export function newPieceName({ file, first }: Piece, random: Random, kind: "segments" | "leaves"): string {
  return `${layout.pieceFolder(file)}${first === WHOLE_FILE ? "whole" : first}-${toHex(random.bytes(8))}.${kind}`;
}

export async function writeRecord(place: PartsPlace, record: PieceRecord): Promise<void> {
  const text = utf8(JSON.stringify({ ...record, mac: toHex(codeOf(place.packageKey, PURPOSE, record)) }));
  await place.store.write(nameOf(place, record), [text], { bytes: text.length });
}

/** Undefined for what is not there; "foreign" for what another plan or nobody with the package key wrote, or is damaged. */
export async function readRecord(place: PartsPlace, piece: Piece): Promise<PieceRecord | "foreign" | undefined> {
  const name = nameOf(place, piece);
  if (!(await place.store.stat(name))) return undefined;
  const parsed = schema.safeParse(parseOrNull(await place.store.readAll(name, SEALING_LIMITS.pieceRecordBytes)));
  if (!parsed.success) return "foreign";
  const { mac, ...record } = parsed.data;
  const isOurs = equalBytes(fromHex(mac) ?? new Uint8Array(0), codeOf(place.packageKey, PURPOSE, record));
  const { plan, file, first } = record;
  return isOurs && plan === piece.plan && file === piece.file && first === piece.first ? record : "foreign";
}

export async function deleteRecord(place: PartsPlace, piece: Piece): Promise<void> {
  await place.store.delete(nameOf(place, piece));
}

/** Undefined when they are not what the record says. */
export async function readPieceLeaves(place: PartsPlace, record: PieceRecord): Promise<Uint8Array | undefined> {
  const name = layout.blobName(place.prefix, record.leaves);
  const stat = await place.store.stat(name);
  if (!stat || stat.bytes > SEALING_LIMITS.statementBytes) return undefined;
  const bytes = await place.store.read(name, 0, stat.bytes);
  return createHash("sha256").update(bytes).digest("hex") === record.leaves_sha256 ? bytes : undefined;
}

export function notOurs(part: number | readonly number[], path: string): Error {
  return sealingError("PART_NOT_OURS", { detail: `part ${[part].flat().join(" and ")}: ${path}` });
}

function nameOf({ prefix }: PartsPlace, { file, first }: Pick<Piece, "file" | "first">): string {
  return layout.blobName(prefix, `${layout.pieceFolder(file)}${first === WHOLE_FILE ? "whole" : first}.done`);
}

function parseOrNull(text: Uint8Array): unknown {
  try {
    return parseJson(text, { what: "record of a piece", maxBytes: SEALING_LIMITS.pieceRecordBytes });
  } catch {
    return null;
  }
}
