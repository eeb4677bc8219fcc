/** The plan that all parts share: who seals which files and ranges, under which headers. Whoever comes first writes it. */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { BlobStore, ModelFile } from "../../artifact/index.ts";
import { artifactError } from "../../artifact/index.ts";
import { equalBytes, fromHex, ModelkeepError, parseJson, type Random, toHex, utf8 } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import type { GuardedBytes } from "../../host/index.ts";
import type { VerifiedManifest } from "../../signing/index.ts";
import { codeOf } from "../authentication.ts";
import { sealingError } from "../errors.ts";
import * as layout from "../layout.ts";
import { SEALING_LIMITS } from "../limits.ts";
import { makeHeader } from "../seal-file.ts";
import { divide } from "./divide.ts";

const PURPOSE = "modelkeep parts plan mac v1";
const number = z.int().nonnegative();
const part = number.max(SEALING_LIMITS.parts - 1);

const plannedFile = z.strictObject({
  path: z.string().min(1).max(4_096),
  bytes: number,
  sha256: layout.hex32,
  /** The FLOE header of the file: two who seal the same piece make blobs that can stand for each other. */
  header: z.string().regex(/^[0-9a-f]{148}$/),
  part,
  ranges: z.array(z.strictObject({ first: number, count: number, part })).max(SEALING_LIMITS.parts),
});

const body = z.strictObject({
  format: z.literal("modelkeep-parts-v1"),
  package_id: z.string().regex(/^[0-9a-f]{32}$/),
  root_digest: layout.hex32,
  leaf_hash: layout.leafHash,
  parts: number.min(1).max(SEALING_LIMITS.parts),
  files: z.array(plannedFile).min(1).max(SEALING_LIMITS.files),
});

const schema = body.extend({ mac: layout.hex32 });

export type PlannedFile = z.output<typeof plannedFile>;

export interface Plan extends z.output<typeof body> {
  /** SHA-256 over JCS of the plan without its code. */
  readonly id: string;
}

/** A place in a store, the package that is made there, and the model it is made of. */
export interface PartsPlace {
  readonly store: BlobStore;
  readonly prefix: string;
  readonly manifest: VerifiedManifest;
  readonly packageKey: GuardedBytes;
  readonly packageId: string;
}

export interface Wanted {
  readonly parts: number;
  readonly leafHash: layout.LeafHashName;
  /** As this part finds them. */
  readonly files: readonly ModelFile[];
  readonly random: Random;
}

/** Throws PARTS_DIFFER for a plan of another division, MODEL_CHANGED when the model has other lengths than for the first. */
export async function agreeOnPlan(place: PartsPlace, wanted: Wanted): Promise<Plan> {
  const name = layout.blobName(place.prefix, layout.planName);
  const there = (await place.store.stat(name)) ? await readPlan(place) : await writePlan(place, wanted);
  const plan = there ?? (await readPlan(place));
  if (plan.parts !== wanted.parts || plan.leaf_hash !== wanted.leafHash)
    throw sealingError("PARTS_DIFFER", { detail: `${plan.parts} parts, leaf hash ${plan.leaf_hash}` });
  const lengths = new Map(wanted.files.map(({ path, bytes }) => [path, bytes]));
  const changed = plan.files.find(({ path, bytes }) => lengths.get(path) !== bytes);
  if (changed) throw artifactError("MODEL_CHANGED", { detail: `${changed.path} since the first part` });
  return plan;
}

/** Throws PARTS_MISSING when no part has begun, PART_NOT_OURS for a plan that was not made with the package key. */
export async function readPlan(place: PartsPlace): Promise<Plan> {
  const name = layout.blobName(place.prefix, layout.planName);
  if (!(await place.store.stat(name))) throw sealingError("PARTS_MISSING", { detail: "none has begun" });
  const text = await place.store.readAll(name, SEALING_LIMITS.planBytes);
  const parsed = schema.safeParse(parseJson(text, { maxBytes: SEALING_LIMITS.planBytes, what: "plan of the parts" }));
  if (!parsed.success) throw sealingError("PART_NOT_OURS", { detail: "the plan cannot be read" });
  const { mac, ...plan } = parsed.data;
  const isOurs = equalBytes(fromHex(mac) ?? new Uint8Array(0), codeOf(place.packageKey, PURPOSE, plan));
  if (!isOurs || !isAbout(plan, place)) throw sealingError("PART_NOT_OURS", { detail: "the plan" });
  return { ...plan, id: idOf(plan) };
}

function isAbout(plan: z.output<typeof body>, { manifest, packageId }: PartsPlace): boolean {
  const isModel = plan.package_id === packageId && plan.root_digest === manifest.rootDigest;
  const { resources } = manifest;
  const isListed = ({ path, sha256 }: PlannedFile, at: number) =>
    resources[at]?.name === path && resources[at]?.digest === sha256;
  return isModel && plan.files.length === resources.length && plan.files.every(isListed);
}

/** Undefined where another part was faster. */
async function writePlan(place: PartsPlace, wanted: Wanted): Promise<Plan | undefined> {
  const plan = makePlan(place, wanted);
  const text = utf8(JSON.stringify({ ...plan, mac: toHex(codeOf(place.packageKey, PURPOSE, plan)) }));
  if (text.length > SEALING_LIMITS.planBytes)
    throw sealingError("SEAL_UNSUPPORTED", { detail: `a plan over ${SEALING_LIMITS.planBytes} bytes` });
  try {
    const name = layout.blobName(place.prefix, layout.planName);
    await place.store.write(name, [text], { absent: true, bytes: text.length });
    return { ...plan, id: idOf(plan) };
  } catch (error) {
    if (error instanceof ModelkeepError && error.code === "BLOB_EXISTS") return undefined;
    throw error;
  }
}

function makePlan(place: PartsPlace, { parts, leafHash, files, random }: Wanted): z.output<typeof body> {
  const { packageKey, packageId, manifest } = place;
  const lengths = new Map(files.map(({ path, bytes }) => [path, bytes]));
  const listed = manifest.resources.map(({ name, digest }) => ({
    path: name,
    bytes: lengths.get(name) ?? 0,
    sha256: digest,
  }));
  const divided = divide(
    listed.map(({ bytes }) => bytes),
    parts,
  );
  const planned = listed.map((file, at) => ({
    ...file,
    header: toHex(makeHeader({ packageKey, packageId, random }, file.path)),
    part: divided[at]?.part ?? 0,
    ranges: [...(divided[at]?.ranges ?? [])],
  }));
  return {
    format: "modelkeep-parts-v1",
    package_id: packageId,
    root_digest: manifest.rootDigest,
    leaf_hash: leafHash,
    parts,
    files: planned,
  };
}

function idOf(plan: z.output<typeof body>): string {
  return createHash("sha256").update(jcs(plan)).digest("hex");
}
