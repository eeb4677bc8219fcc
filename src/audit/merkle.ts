/** The Merkle tree of RFC 6962, section 2.1: hashes, and the frontier from which a root follows. */
import { hash } from "node:crypto";
import { concatBytes } from "../base/index.ts";

export const HASH_BYTES = 32;
const LEAF_PREFIX = Uint8Array.of(0);
const NODE_PREFIX = Uint8Array.of(1);

export function hashLeaf(leaf: Uint8Array): Uint8Array {
  return sha256(concatBytes(LEAF_PREFIX, leaf));
}

export function hashNode(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concatBytes(NODE_PREFIX, left, right));
}

/** Root of the tree without a leaf. */
export function emptyRoot(): Uint8Array {
  return sha256(new Uint8Array(0));
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash("sha256", bytes, "buffer"));
}

/** Root over 1, 2, 4, 8 … hashes of one level. */
export function foldPerfect(hashes: readonly Uint8Array[]): Uint8Array {
  let level = hashes;
  while (level.length > 1) {
    const next: Uint8Array[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) {
      const [left, right] = [level[i], level[i + 1]];
      if (left && right) next.push(hashNode(left, right));
    }
    level = next;
  }
  return level[0] ?? emptyRoot();
}

/** Told of every whole subtree of 2^level leaves that a new leaf completes, the leaf itself included. */
export type NodeListener = (level: number, index: number, node: Uint8Array) => void;

/** The roots of the largest whole subtrees, left to right: all that appending and the root need. */
export class Frontier {
  #size: number;
  readonly #peaks: Uint8Array[];

  constructor(size = 0, peaks: readonly Uint8Array[] = []) {
    this.#size = size;
    this.#peaks = [...peaks];
  }

  get size(): number {
    return this.#size;
  }

  push(leafHash: Uint8Array, onNode?: NodeListener): void {
    let node = leafHash;
    let index = this.#size;
    onNode?.(0, index, node);
    for (let level = 1; index % 2 === 1; level++) {
      node = hashNode(this.#peaks.pop() ?? emptyRoot(), node);
      index = (index - 1) / 2;
      onNode?.(level, index, node);
    }
    this.#peaks.push(node);
    this.#size++;
  }

  root(): Uint8Array {
    return (
      this.#peaks.reduceRight<Uint8Array | undefined>(
        (right, left) => (right ? hashNode(left, right) : left),
        undefined,
      ) ?? emptyRoot()
    );
  }

  clone(): Frontier {
    return new Frontier(this.#size, this.#peaks);
  }
}
