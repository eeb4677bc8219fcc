/** Seals one part of a model, on a machine of its own: whole files, ranges of large ones, digests of what others seal in ranges. */
import { createHash } from "node:crypto";
import type { ModelFile } from "../../artifact/index.ts";
import { artifactError, modelFilePath, readChunks } from "../../artifact/index.ts";
import { fromHex, ModelkeepError, toHex } from "../../base/index.ts";
import { GuardedBytes, hashLeaf, type SealThreads, Sha256Streams } from "../../host/index.ts";
import { signingError } from "../../signing/index.ts";
import type { SegmentRange } from "../batches.ts";
import { envelopeBytes, type KeyEnvelope, makeEnvelope, unwrapPackageKey } from "../envelope.ts";
import { sealingError } from "../errors.ts";
import { readJournal, writeJournal } from "../journal.ts";
import * as layout from "../layout.ts";
import { SEALING_LIMITS } from "../limits.ts";
import * as whole from "../seal.ts";
import { type FileToSeal, type SealFileWork, sealFile, sealRange } from "../seal-file.ts";
import { agreeOnPlan, type PartsPlace, type Plan, type PlannedFile } from "./plan.ts";
import {
  newPieceName,
  type Piece,
  type PieceRecord,
  readPieceLeaves,
  readRecord,
  WHOLE_FILE,
  writeRecord,
} from "./records.ts";

/** The key that signed is not needed: only joining signs. */
export interface SealPartOptions extends Omit<whole.SealOptions, "signer" | "bundle"> {
  /** From 0. */
  readonly part: number;
  /** The same for all parts. */
  readonly parts: number;
}

export interface SealedPart {
  readonly packageId: string;
  readonly rootDigest: string;
  /** Files, ranges and digests that were this part's. */
  readonly pieces: number;
  /** Of them, what an earlier run had finished. */
  readonly resumedPieces: number;
}

/**
 * Any order, at the same time or one after the other, again after an interruption: what a part finished stays. Throws
 * SEALED_EXISTS, PARTS_DIFFER, PART_NOT_OURS, PARTS_STORE_UNFIT, MODEL_CHANGED, and what `sealModel` throws.
 */
export async function sealPart(options: SealPartOptions): Promise<SealedPart> {
  const { manifest, parts, part, store } = options;
  if (!(part >= 0 && part < parts && parts <= SEALING_LIMITS.parts)) throw new RangeError(`part ${part} of ${parts}`);
  if (store.uri.startsWith("oci:")) throw sealingError("PARTS_STORE_UNFIT");
  const leafHash = whole.chooseLeafHash(options.leafHash);
  whole.checkSealable(manifest);
  await whole.checkUnsealed(options);
  const files = await whole.walkSigned(options.root, manifest);
  const { packageKey, packageId } = await beginOrJoin(options);
  using key = packageKey;
  const { prefix, random } = options;
  const place = { store, prefix, manifest, packageKey: key, packageId };
  const plan = await agreeOnPlan(place, { parts, leafHash, files, random });
  const mine = plan.files.filter((file) => file.part === part || file.ranges.some((range) => range.part === part));
  const streams = await Sha256Streams.load();
  const threads = await whole.startThreads(mine, {
    ...(options.threads === undefined ? {} : { threads: options.threads }),
  });
  try {
    const work = { ...options, packageKey: key, packageId, leafHash, threads, streams };
    const { pieces, resumedPieces } = await new PartSealer(work, place, plan, files).run(part);
    return { packageId, rootDigest: manifest.rootDigest, pieces, resumedPieces };
  } finally {
    await threads.close();
  }
}

/** The first part makes the package key; the others get it from a KMS out of the envelope that the first one wrote. */
async function beginOrJoin(options: SealPartOptions): Promise<{ packageKey: GuardedBytes; packageId: string }> {
  const begun = await whole.readBegun(options);
  return begun ? openBegun(begun, options) : begin(options);
}

async function openBegun(envelope: KeyEnvelope, { wrappers }: SealPartOptions) {
  return { packageKey: await unwrapPackageKey(envelope, wrappers), packageId: envelope.package_id };
}

async function begin(options: SealPartOptions): Promise<{ packageKey: GuardedBytes; packageId: string }> {
  const { store, prefix, manifest, wrappers, random } = options;
  const packageKey = GuardedBytes.take(random.bytes(32));
  try {
    const packageId = toHex(random.bytes(16));
    const bytes = envelopeBytes(await makeEnvelope(packageKey, packageId, manifest.rootDigest, wrappers));
    await store.write(layout.blobName(prefix, layout.NAMES.envelope), [bytes], { absent: true, bytes: bytes.length });
    return { packageKey, packageId };
  } catch (error) {
    packageKey.wipe();
    if (!(error instanceof ModelkeepError && error.code === "BLOB_EXISTS")) throw error;
  }
  const faster = await whole.readBegun(options);
  if (!faster) throw sealingError("NOT_SEALED", { detail: "the envelope went away while the first part began" });
  return openBegun(faster, options);
}

class PartSealer {
  readonly #work: SealFileWork & { readonly threads: SealThreads };
  readonly #place: PartsPlace;
  readonly #plan: Plan;
  readonly #found: ReadonlyMap<string, ModelFile>;
  readonly #counts = { pieces: 0, resumedPieces: 0 };

  constructor(work: SealFileWork, place: PartsPlace, plan: Plan, files: readonly ModelFile[]) {
    this.#work = work;
    this.#place = place;
    this.#plan = plan;
    this.#found = new Map(files.map((file) => [file.path, file]));
  }

  async run(part: number): Promise<{ pieces: number; resumedPieces: number }> {
    for (const [index, planned] of this.#plan.files.entries()) {
      const ranges = planned.ranges.filter((range) => range.part === part);
      const isOwner = planned.part === part;
      if (!isOwner && ranges.length === 0) continue;
      const file = this.#fileOf(index, planned);
      if (planned.ranges.length === 0) await this.#count(() => this.#sealWhole(file));
      for (const range of ranges) await this.#count(() => this.#sealRange(file, range));
      if (isOwner && planned.ranges.length > 0) await this.#count(() => this.#hashWhole(file));
    }
    return this.#counts;
  }

  #fileOf(index: number, { path, sha256, bytes, header }: PlannedFile): FileToSeal {
    const found = this.#found.get(path);
    const bytesOfHeader = fromHex(header);
    if (!found || !bytesOfHeader) throw signingError("MODEL_NOT_AS_SIGNED", { detail: `${path} is not there` });
    return { ...found, index, path, sha256, bytes, header: bytesOfHeader };
  }

  async #count(work: () => Promise<boolean>): Promise<void> {
    this.#counts.pieces++;
    if (!(await work())) this.#counts.resumedPieces++;
  }

  /** False when it was done before. */
  async #sealWhole(file: FileToSeal): Promise<boolean> {
    if (await this.#isJournaled(file)) return false;
    const { leafHash } = this.#work;
    const { file: sealed, tag } = await sealFile(this.#work, file);
    await writeJournal(this.#place, file.index, sealed, leafHash, tag);
    return true;
  }

  async #isJournaled({ index, path, sha256 }: FileToSeal): Promise<boolean> {
    const { leafHash } = this.#work;
    return (await readJournal(this.#place, index, { path, sha256, leafHash })) !== undefined;
  }

  async #sealRange(file: FileToSeal, range: SegmentRange): Promise<boolean> {
    const piece = this.#pieceOf(file, range.first);
    if (await this.#isDone(file, piece)) return false;
    const blob = newPieceName(piece, this.#work.random, "segments");
    const name = layout.blobName(this.#place.prefix, blob);
    const { leaves, ...written } = await sealRange(this.#work, file, range, name);
    await this.#record(piece, leaves, { blob, ...written });
    return true;
  }

  /** The bytes that are hashed here are those of the signature; joining holds what the ranges hold against them. */
  async #hashWhole(file: FileToSeal): Promise<boolean> {
    const piece = this.#pieceOf(file, WHOLE_FILE);
    if (await this.#isDone(file, piece)) return false;
    await this.#record(piece, await hashFile(this.#work, file), { blob: null, sha256: null, tag: null });
    return true;
  }

  #pieceOf({ index }: FileToSeal, first: number): Piece {
    return { plan: this.#plan.id, file: index, first };
  }

  /** Of a file that was joined already nothing is left to do. */
  async #isDone(file: FileToSeal, piece: Piece): Promise<boolean> {
    if (await this.#isJournaled(file)) return true;
    const record = await readRecord(this.#place, piece);
    if (record === undefined || record === "foreign" || !(await readPieceLeaves(this.#place, record))) return false;
    const { store, prefix } = this.#place;
    return record.blob === null || (await store.stat(layout.blobName(prefix, record.blob))) !== undefined;
  }

  async #record(piece: Piece, leaves: Uint8Array, made: Pick<PieceRecord, "blob" | "sha256" | "tag">): Promise<void> {
    const { store, prefix } = this.#place;
    const name = newPieceName(piece, this.#work.random, "leaves");
    await store.write(layout.blobName(prefix, name), [leaves], { bytes: leaves.length });
    const leaves_sha256 = createHash("sha256").update(leaves).digest("hex");
    await writeRecord(this.#place, { ...piece, ...made, leaves: name, leaves_sha256 });
  }
}

/** One list of leaves after the other. Throws MODEL_CHANGED, MODEL_NOT_AS_SIGNED. */
async function hashFile({ root, leafHash, progress, signal }: SealFileWork, file: FileToSeal): Promise<Uint8Array> {
  const hashes = layout.leafHashesOf(leafHash);
  const lists = hashes.map((): Uint8Array[] => []);
  const digest = createHash("sha256");
  const path = file.source ?? modelFilePath(root, file.path);
  let done = 0;
  for await (const segment of readChunks(path, SEALING_LIMITS.segmentBytes, file.bytes)) {
    signal?.throwIfAborted();
    digest.update(segment);
    for (const [at, hash] of hashes.entries()) lists[at]?.push(hashLeaf(hash, segment));
    done += segment.length;
    progress?.({ step: `hash ${file.path}`, done, total: file.bytes, unit: "bytes" });
  }
  if (digest.digest("hex") !== file.sha256) throw signingError("MODEL_NOT_AS_SIGNED", { detail: file.path });
  if (lists[0]?.length !== layout.segmentCount(file.bytes)) throw artifactError("MODEL_CHANGED", { detail: path });
  return new Uint8Array(Buffer.concat(lists.flat()));
}
