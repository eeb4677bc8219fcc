/** Proofs over the tree: making them from stored nodes, and checking them (RFC 9162, sections 2.1.3 and 2.1.4). */
import { equalBytes } from "../base/index.ts";
import { AUDIT_LIMITS } from "./limits.ts";
import { emptyRoot, HASH_BYTES, hashNode } from "./merkle.ts";

/** The root of the whole subtree number `index` of 2^level leaves. */
export type NodeSource = (level: number, index: number) => Promise<Uint8Array>;

export interface InclusionClaim {
  readonly index: number;
  readonly size: number;
  readonly leafHash: Uint8Array;
  readonly root: Uint8Array;
  readonly hashes: readonly Uint8Array[];
}

export interface ConsistencyClaim {
  readonly fromSize: number;
  readonly fromRoot: Uint8Array;
  readonly toSize: number;
  readonly toRoot: Uint8Array;
  readonly hashes: readonly Uint8Array[];
}

/** Root over the leaves from `start` to `end`, exclusive; `start` is where a subtree of that tree begins. */
async function rangeRoot(source: NodeSource, start: number, end: number): Promise<Uint8Array> {
  const count = end - start;
  if (count <= 0) return emptyRoot();
  const left = 2 ** Math.floor(Math.log2(count));
  if (left === count) return source(Math.log2(count), start / count);
  return hashNode(await rangeRoot(source, start, start + left), await rangeRoot(source, start + left, end));
}

/** Largest power of two below `count`; `count` is at least 2. */
function split(count: number): number {
  const power = 2 ** Math.floor(Math.log2(count));
  return power === count ? power / 2 : power;
}

/** RFC 9162, section 2.1.3.1. `index` is below `size`. */
export async function makeInclusionProof(source: NodeSource, index: number, size: number): Promise<Uint8Array[]> {
  const hashes: Uint8Array[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + split(end - start);
    const goLeft = index < middle;
    hashes.push(await (goLeft ? rangeRoot(source, middle, end) : rangeRoot(source, start, middle)));
    if (goLeft) end = middle;
    else start = middle;
  }
  return hashes.reverse();
}

/** RFC 9162, section 2.1.4.1. `fromSize` is at least 1 and at most `toSize`. */
export async function makeConsistencyProof(
  source: NodeSource,
  fromSize: number,
  toSize: number,
): Promise<Uint8Array[]> {
  const hashes: Uint8Array[] = [];
  let [start, end] = [0, toSize];
  while (fromSize !== end) {
    const middle = start + split(end - start);
    if (fromSize <= middle) {
      hashes.push(await rangeRoot(source, middle, end));
      end = middle;
    } else {
      hashes.push(await rangeRoot(source, start, middle));
      start = middle;
    }
  }
  if (start !== 0) hashes.push(await rangeRoot(source, start, end));
  return hashes.reverse();
}

/** RFC 9162, section 2.1.3.2. Never throws. */
export function verifyInclusion(claim: InclusionClaim): boolean {
  const { index, size, leafHash, root, hashes } = claim;
  if (!isSize(size) || !isSize(index) || index >= size || !wellFormed([leafHash, root, ...hashes])) return false;
  let [fn, sn] = [index, size - 1];
  let node = leafHash;
  for (const hash of hashes) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      node = hashNode(hash, node);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else {
      node = hashNode(node, hash);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && equalBytes(node, root);
}

/** RFC 9162, section 2.1.4.2, and the two ends that it leaves out: equal sizes, and from the empty tree. Never throws. */
export function verifyConsistency(claim: ConsistencyClaim): boolean {
  const { fromSize, fromRoot, toSize, toRoot, hashes } = claim;
  if (!isSize(fromSize) || !isSize(toSize) || fromSize > toSize) return false;
  if (!wellFormed([fromRoot, toRoot, ...hashes])) return false;
  if (fromSize === toSize) return hashes.length === 0 && equalBytes(fromRoot, toRoot);
  if (fromSize === 0) return hashes.length === 0 && equalBytes(fromRoot, emptyRoot());
  return followConsistency(claim);
}

function followConsistency({ fromSize, fromRoot, toSize, toRoot, hashes }: ConsistencyClaim): boolean {
  const path = Number.isInteger(Math.log2(fromSize)) ? [fromRoot, ...hashes] : hashes;
  let [fn, sn] = [fromSize - 1, toSize - 1];
  while (fn % 2 === 1) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  const [first, ...rest] = path;
  if (!first || hashes.length === 0) return false;
  let [fr, sr] = [first, first];
  for (const hash of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      [fr, sr] = [hashNode(hash, fr), hashNode(hash, sr)];
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else {
      sr = hashNode(sr, hash);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && equalBytes(fr, fromRoot) && equalBytes(sr, toRoot);
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function wellFormed(hashes: readonly Uint8Array[]): boolean {
  return hashes.length <= AUDIT_LIMITS.proofHashes + 2 && hashes.every((hash) => hash.length === HASH_BYTES);
}
