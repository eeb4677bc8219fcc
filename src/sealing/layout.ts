/** Where the parts of a sealed model lie under its prefix, what the signed seal statement says, and how keys are derived. */
import { hkdfSync } from "node:crypto";
import { z } from "zod";
import { concatBytes, uint32be, utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import { type GuardedBytes, LEAF_BYTES, type LeafHash } from "../host/index.ts";
import { FLOE_HEADER_BYTES, SEGMENT_OVERHEAD_BYTES } from "./floe.ts";
import { SEALING_LIMITS } from "./limits.ts";

export const SEAL_PREDICATE_TYPE = "urn:modelkeep:seal:v1";
export const SEALED_FORMAT = "modelkeep-sealed-model-v1";

export const NAMES = {
  bundle: "model.sig",
  seal: "seal.json",
  envelope: "envelope.json",
  bom: "bom.json",
  findings: "findings.json",
} as const;

export function blobName(prefix: string, name: string): string {
  return prefix === "" ? name : `${prefix}/${name}`;
}

export const fileName = (index: number) => `files/${index}.floe`;
export const leavesName = (index: number) => `files/${index}.leaves`;
export const journalName = (index: number) => `files/${index}.done`;

/** What parts leave for each other until they are joined. */
export const PARTS_FOLDER = "parts/";
export const planName = `${PARTS_FOLDER}plan.json`;
/** All that is left about the ranges of one file. */
export const pieceFolder = (index: number) => `${PARTS_FOLDER}${index}/`;

export const hex32 = z.string().regex(/^[0-9a-f]{64}$/);

export const sealedFile = z.strictObject({
  path: z.string().min(1).max(4_096),
  bytes: z.int().nonnegative(),
  blob: z.string().regex(/^files\/\d{1,6}\.floe$/),
  leaves: z.string().regex(/^files\/\d{1,6}\.leaves$/),
  /** The header tag of the FLOE message: commits to its key. */
  header_tag: hex32,
  /** SHA-256 over the blob of leaves. */
  leaves_sha256: hex32,
  sha256: hex32,
});

export type SealedFile = z.output<typeof sealedFile>;

/** What the segments were hashed with; `sha256+blake3` is the list of the one, then the list of the other. */
export const LEAF_HASHES = ["sha256", "blake3", "sha256+blake3"] as const;

export const leafHash = z.enum(LEAF_HASHES);

export type LeafHashName = z.output<typeof leafHash>;

export function leafHashesOf(name: LeafHashName): readonly LeafHash[] {
  return name === "sha256+blake3" ? ["sha256", "blake3"] : [name];
}

/** Of the blob of leaves of a file of `bytes` bytes. */
export function leavesBytes(bytes: number, hashes: readonly LeafHash[]): number {
  return segmentCount(bytes) * LEAF_BYTES * hashes.length;
}

export const journalEntry = z.strictObject({
  file: sealedFile,
  leaf_hash: leafHash,
  /** Of a part's: what the store called the blob when it was written; null where it said nothing. */
  tag: z.string().max(512).nullable().optional(),
  mac: hex32,
});

export const sealPredicate = z.strictObject({
  format: z.literal(SEALED_FORMAT),
  package_id: z.string().regex(/^[0-9a-f]{32}$/),
  payload: z.literal("FLOE-AES-256-GCM-HKDF-SHA-384"),
  segment_bytes: z.literal(SEALING_LIMITS.segmentBytes),
  leaf_hash: leafHash,
  files: z.array(sealedFile).min(1).max(SEALING_LIMITS.files),
});

export type SealPredicate = z.output<typeof sealPredicate>;

export function segmentCount(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / SEALING_LIMITS.segmentBytes));
}

/** Length of the FLOE message of a file of `bytes` bytes. */
export function sealedBytes(bytes: number): number {
  return FLOE_HEADER_BYTES + bytes + segmentCount(bytes) * SEGMENT_OVERHEAD_BYTES;
}

/** Key of one file: HKDF-SHA-256 of the package key over package id and path. The caller wipes it. */
export function fileKey(packageKey: GuardedBytes, packageId: string, path: string): Uint8Array {
  const [id, name] = [utf8(packageId), utf8(path)];
  const info = concatBytes(utf8("modelkeep file key v1"), uint32be(id.length), id, uint32be(name.length), name);
  return packageKey.use((key) => new Uint8Array(hkdfSync("sha256", key, new Uint8Array(0), info, 32)));
}

export function fileAad(packageId: string, path: string): Uint8Array {
  return jcs({ format: SEALED_FORMAT, package_id: packageId, path });
}
