/** Joins the parts of a model: holds what they left against the plan and each other, signs, and publishes the seal last. */
import { createHash } from "node:crypto";
import { artifactError } from "../../artifact/index.ts";
import { equalBytes, fromHex } from "../../base/index.ts";
import { LEAF_BYTES } from "../../host/index.ts";
import type { SegmentRange } from "../batches.ts";
import { unwrapPackageKey } from "../envelope.ts";
import { sealingError } from "../errors.ts";
import { FLOE_HEADER_BYTES } from "../floe.ts";
import { hasJournal, readJournalEntry, writeJournal } from "../journal.ts";
import * as layout from "../layout.ts";
import * as whole from "../seal.ts";
import { joinBlob, type SealedPiece } from "./join-blob.ts";
import { type PartsPlace, type Plan, type PlannedFile, readPlan } from "./plan.ts";
import { deleteRecord, notOurs, type PieceRecord, readPieceLeaves, readRecord, WHOLE_FILE } from "./records.ts";
import { checkWholeFiles, type WholeFile } from "./whole-files.ts";

/** The model's files are not read: they need not be on the machine that joins. */
export type JoinPartsOptions = Omit<whole.SealOptions, "root" | "leafHash" | "threads">;

/** Where parts write; no blob's name begins with a dot, but in a folder what was interrupted beside these does. */
const UNFINISHED = ["files/", layout.PARTS_FOLDER, "."];

/**
 * Throws PARTS_MISSING with the parts that are, PART_NOT_OURS for what was changed or belongs to another plan,
 * MODEL_CHANGED when a part sealed other bytes than those that were signed, and what `sealModel` throws. What it joined
 * before it was interrupted stays joined.
 */
export async function joinParts(options: JoinPartsOptions): Promise<whole.SealedPackage> {
  const { store, prefix, manifest, wrappers, signer } = options;
  whole.checkSealable(manifest, signer);
  await whole.checkUnsealed(options);
  const envelope = await whole.readBegun(options);
  if (!envelope) throw sealingError("PARTS_MISSING", { detail: "none has begun" });
  const packageId = envelope.package_id;
  using packageKey = await unwrapPackageKey(envelope, wrappers);
  const place: PartsPlace = { store, prefix, manifest, packageKey, packageId };
  const plan = await readPlan(place);
  const pieces = await collect(place, plan);
  for (const start of UNFINISHED) await store.discardUnfinished(layout.blobName(prefix, start));
  await checkWholeFiles(options, place, plan.leaf_hash, pieces);
  const files: layout.SealedFile[] = [];
  for (const [index, planned] of plan.files.entries()) {
    options.signal?.throwIfAborted();
    const piece = pieces[index];
    files.push(
      piece && "joined" in piece ? piece.joined : await joinFile(options, { place, plan, index, planned }, piece),
    );
  }
  const seal = await whole.finish(options, packageId, files, plan.leaf_hash);
  const resumedFiles = pieces.filter((piece) => piece && "joined" in piece).length;
  return { packageId, rootDigest: manifest.rootDigest, envelope, seal, files, resumedFiles };
}

interface Ranges {
  readonly hashed: PieceRecord;
  readonly ranges: readonly SealedPiece[];
}

type Collected = WholeFile | Ranges;

/** All that is missing is told at once. */
async function collect(place: PartsPlace, plan: Plan): Promise<(Collected | undefined)[]> {
  const missing = new Map<number, string>();
  const collected: (Collected | undefined)[] = [];
  for (const [index, planned] of plan.files.entries())
    collected.push(await collectFile(place, plan, index, planned, missing));
  if (missing.size === 0) return collected;
  const list = [...missing].toSorted(([a], [b]) => a - b).map(([part, path]) => `${part}/${plan.parts} (${path})`);
  const shown = list.slice(0, 8).join(", ");
  throw sealingError("PARTS_MISSING", { detail: list.length > 8 ? `${shown} and ${list.length - 8} more` : shown });
}

async function collectFile(
  place: PartsPlace,
  plan: Plan,
  index: number,
  planned: PlannedFile,
  missing: Map<number, string>,
): Promise<Collected | undefined> {
  const { path, sha256, part, ranges } = planned;
  const tell = (owner: number) => missing.set(owner, missing.get(owner) ?? path);
  const journal = await readJournalEntry(place, index, { path, sha256, leafHash: plan.leaf_hash });
  if (journal) return { joined: journal.file, tag: journal.tag, part };
  if (ranges.length === 0) {
    if (await hasJournal(place, index)) throw notOurs(part, path);
    tell(part);
    return undefined;
  }
  const record = async (first: number, owner: number) => {
    const read = await readRecord(place, { plan: plan.id, file: index, first });
    if (read === "foreign") throw notOurs(owner, path);
    if (!read) tell(owner);
    return read;
  };
  const hashed = await record(WHOLE_FILE, part);
  const found: Ranges["ranges"][number][] = [];
  for (const range of ranges) {
    const read = await record(range.first, range.part);
    if (read) found.push({ range, record: read });
  }
  return hashed && { hashed, ranges: found };
}

interface JoinedAt {
  readonly place: PartsPlace;
  readonly plan: Plan;
  readonly index: number;
  readonly planned: PlannedFile;
}

/** Its blob is put together out of the ranges; then it is a file like those that were sealed whole. */
async function joinFile(
  options: JoinPartsOptions,
  at: JoinedAt,
  ranges: Ranges | undefined,
): Promise<layout.SealedFile> {
  const { place, plan, index, planned } = at;
  if (!ranges) throw sealingError("PARTS_MISSING", { detail: planned.path });
  const leaves = await checkLeaves(at, ranges);
  const { store, prefix } = place;
  const header = fromHex(planned.header) ?? new Uint8Array(0);
  const [blob, leavesBlob] = [layout.fileName(index), layout.leavesName(index)];
  await joinBlob(options, { place, index, planned, header, pieces: ranges.ranges });
  const about = { bytes: leaves.length, modelPath: planned.path };
  await store.write(layout.blobName(prefix, leavesBlob), [leaves], about);
  const file: layout.SealedFile = {
    path: planned.path,
    bytes: planned.bytes,
    blob,
    leaves: leavesBlob,
    header_tag: planned.header.slice((FLOE_HEADER_BYTES - LEAF_BYTES) * 2),
    leaves_sha256: createHash("sha256").update(leaves).digest("hex"),
    sha256: planned.sha256,
  };
  await writeJournal(place, index, file, plan.leaf_hash);
  await whole.deleteBelow(place, layout.pieceFolder(index));
  return file;
}

/** The list of who hashed the file as a whole, after every range was found to be the same bytes. */
async function checkLeaves({ place, plan, planned }: JoinedAt, { hashed, ranges }: Ranges): Promise<Uint8Array> {
  const lists = layout.leafHashesOf(plan.leaf_hash).length;
  const all = await readPieceLeaves(place, hashed);
  const segments = layout.segmentCount(planned.bytes);
  if (all?.length !== segments * lists * LEAF_BYTES) throw notOurs(planned.part, planned.path);
  for (const { range, record } of ranges) {
    const leaves = await readPieceLeaves(place, record);
    if (!leaves) throw notOurs(range.part, planned.path);
    if (equalBytes(leaves, leavesOf(all, segments, lists, range))) continue;
    await deleteRecord(place, record);
    const hint = `modelkeep seal MODEL --part ${range.part}/${plan.parts} again, then --join`;
    throw artifactError("MODEL_CHANGED", { detail: `${planned.path} was another one for part ${range.part}`, hint });
  }
  return all;
}

function leavesOf(all: Uint8Array, segments: number, lists: number, { first, count }: SegmentRange): Uint8Array {
  const from = (list: number) => (list * segments + first) * LEAF_BYTES;
  const slices = Array.from({ length: lists }, (_, list) => all.subarray(from(list), from(list) + count * LEAF_BYTES));
  return new Uint8Array(Buffer.concat(slices));
}
