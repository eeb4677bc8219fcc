/** Which of the small blobs of a sealed model a copy writes: a finished target keeps its own, unless it was said otherwise. */
import type { BlobStat, BlobStore, WriteOptions } from "../artifact/index.ts";
import { equalBytes } from "../base/index.ts";
import { SIGNING_LIMITS, siblingFolder } from "../signing/index.ts";
import { sealingError } from "./errors.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

export interface SealedPlace {
  readonly store: BlobStore;
  readonly prefix: string;
}

/**
 * What of a finished target the source's stands in for where they differ: its envelope, or also signatures, bill of
 * materials and findings. The payload and the seal never.
 */
export type Replaced = "nothing" | "envelope" | "all";

export interface SmallBlob {
  readonly name: string;
  /** The envelope's: the one that was looked at is the one that is written. The others are read when it is their turn. */
  readonly bytes?: Uint8Array;
  readonly condition: WriteOptions;
}

/**
 * In the order in which they are written, and nothing is written yet: a target gets all of them or none. Each is
 * written under the condition that the target's is still the one that was looked at, where the store names what it holds:
 * a folder does not. Throws SEALED_EXISTS.
 */
export async function smallBlobs(from: SealedPlace, to: SealedPlace, replaced: Replaced): Promise<SmallBlob[]> {
  const { envelope, bundle, bom, findings, seal } = layout.NAMES;
  const isFinished = Boolean(await to.store.stat(layout.blobName(to.prefix, seal)));
  const blobs: SmallBlob[] = [];
  for (const name of [envelope, bundle, bom, findings, ...(await besideSignature(from))]) {
    const source = layout.blobName(from.prefix, name);
    if (![envelope, bundle].includes(name as never) && !(await from.store.stat(source))) continue;
    const bytes = await from.store.readAll(source, limitOf(name));
    const there = await to.store.stat(layout.blobName(to.prefix, name));
    if (there && (await isSame(to, name, there, bytes))) continue;
    // Where there is none, the place is claimed with the source's; what is there at the end is newer.
    if (!there && name === envelope) continue;
    if (isFinished && there && !mayReplace(name, replaced)) throw otherThan(to, name);
    const condition = isFinished || name === envelope ? conditionOf(there) : {};
    blobs.push({ name, condition, ...(name === envelope ? { bytes } : {}) });
  }
  return blobs;
}

export async function copySmall(from: SealedPlace, to: SealedPlace, { name, bytes, condition }: SmallBlob) {
  const now = bytes ?? (await from.store.readAll(layout.blobName(from.prefix, name), limitOf(name)));
  await to.store.write(layout.blobName(to.prefix, name), [now], { ...condition, bytes: now.length });
}

function limitOf(name: string): number {
  return name === layout.NAMES.envelope ? SEALING_LIMITS.envelopeBytes : SEALING_LIMITS.bundleBytes;
}

function mayReplace(name: string, replaced: Replaced): boolean {
  return replaced === "all" || (replaced === "envelope" && name === layout.NAMES.envelope);
}

function conditionOf(there: BlobStat | undefined): WriteOptions {
  if (!there) return { absent: true };
  return there.tag === undefined ? {} : { unchanged: there.tag };
}

/** The source's may be older: an envelope that lets in who was taken out since, findings from before an advisory. */
function otherThan({ store, prefix }: SealedPlace, name: string): Error {
  const what = name === layout.NAMES.envelope ? "other recipients" : `another ${name}`;
  return sealingError("SEALED_EXISTS", {
    detail: `${store.uri} ${prefix}`.trimEnd().concat(`, with ${what} than the source`),
    hint: "the same with --replace, where what the source has is the newer one",
  });
}

/** Signatures of further signers, and statements. */
async function besideSignature({ store, prefix }: SealedPlace): Promise<string[]> {
  const folder = siblingFolder(layout.NAMES.bundle);
  const from = layout.blobName(prefix, `${folder}/`);
  const names: string[] = [];
  for await (const blob of store.list(from)) names.push(`${folder}/${blob.slice(from.length)}`);
  if (names.length <= SIGNING_LIMITS.siblings) return names;
  throw sealingError("SEALED_INVALID", { detail: `over ${SIGNING_LIMITS.siblings} blobs beside the signature` });
}

async function isSame({ store, prefix }: SealedPlace, name: string, there: BlobStat, bytes: Uint8Array) {
  if (there.bytes !== bytes.length) return false;
  return equalBytes(await store.readAll(layout.blobName(prefix, name), bytes.length), bytes);
}
