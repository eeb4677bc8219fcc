/** Proofs against a tree that follows the words of RFC 6962: every right one holds, no other does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hashLeaf, verifyConsistency, verifyInclusion } from "../../src/audit/index.ts";
import { Frontier } from "../../src/audit/merkle.ts";
import { makeConsistencyProof, makeInclusionProof, type NodeSource } from "../../src/audit/proofs.ts";
import { toHex, utf8 } from "../../src/base/index.ts";
import { naivePath, naiveProof, naiveRoot } from "./support.ts";

const leavesOf = (count: number) => Array.from({ length: count }, (_, n) => utf8(`leaf ${n}`));
const roots = (count: number) => {
  const leaves = leavesOf(count);
  return leaves.map((_, n) => naiveRoot(leaves.slice(0, n + 1)));
};

/** Nodes of a tree, as the stored tiles give them. */
function nodes(count: number): NodeSource {
  const leaves = leavesOf(count);
  return async (level, index) => {
    const part = leaves.slice(index * 2 ** level, (index + 1) * 2 ** level);
    assert.equal(part.length, 2 ** level, "only whole subtrees are asked for");
    return naiveRoot(part);
  };
}

test("the known hashes of RFC 6962 trees", () => {
  // Certificate Transparency's own test data: the empty tree, and the leaf of no bytes.
  assert.equal(toHex(naiveRoot([])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assert.equal(toHex(hashLeaf(new Uint8Array(0))), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
});

test("the frontier has the naive root at every size, and tells of every whole subtree once", () => {
  const leaves = leavesOf(130);
  const frontier = new Frontier();
  const told = new Map<string, string>();
  leaves.forEach((leaf, n) => {
    frontier.push(hashLeaf(leaf), (level, index, node) => {
      assert.ok(!told.has(`${level}/${index}`));
      told.set(`${level}/${index}`, toHex(node));
    });
    assert.deepEqual(frontier.root(), naiveRoot(leaves.slice(0, n + 1)));
  });
  for (const [id, node] of told) {
    const [level = 0, index = 0] = id.split("/").map(Number);
    assert.equal(node, toHex(naiveRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level))));
  }
  assert.equal(told.size, 130 + 65 + 32 + 16 + 8 + 4 + 2 + 1);
});

test("proofs are those of the RFC, and hold, for every pair up to 40", async () => {
  const all = roots(40);
  const leaves = leavesOf(40);
  for (let size = 1; size <= 40; size++) {
    const root = all[size - 1] ?? new Uint8Array(0);
    for (let index = 0; index < size; index++) {
      const hashes = await makeInclusionProof(nodes(size), index, size);
      assert.deepEqual(hashes, naivePath(index, leaves.slice(0, size)));
      const leafHash = hashLeaf(leaves[index] ?? new Uint8Array(0));
      assert.ok(verifyInclusion({ index, size, leafHash, root, hashes }));
      const [fromSize, fromRoot] = [index + 1, all[index] ?? new Uint8Array(0)];
      const proof = await makeConsistencyProof(nodes(size), fromSize, size);
      assert.deepEqual(proof, naiveProof(fromSize, leaves.slice(0, size)));
      assert.ok(
        verifyConsistency({ fromSize, fromRoot, toSize: size, toRoot: root, hashes: proof }),
        `${fromSize} ${size}`,
      );
    }
  }
});

const pair = fc
  .integer({ min: 1, max: 300 })
  .chain((size) => fc.tuple(fc.constant(size), fc.integer({ min: 0, max: size - 1 })));

test("a proof of inclusion holds for no other index, size, leaf, root or path", async () => {
  await fc.assert(
    fc.asyncProperty(pair, fc.nat(), fc.integer({ min: 0, max: 4 }), async ([size, index], salt, what) => {
      const hashes = naivePath(index, leavesOf(size));
      const leafHash = hashLeaf(utf8(`leaf ${index}`));
      const right = { index, size, leafHash, root: naiveRoot(leavesOf(size)), hashes };
      assert.ok(verifyInclusion(right));
      const other = (index + 1 + (salt % Math.max(1, size - 1))) % size;
      const wrong = [
        size > 1 && other !== index ? { ...right, index: other } : { ...right, index: size },
        { ...right, hashes: [...hashes, leafHash] },
        hashes.length > 0 ? { ...right, hashes: hashes.slice(1) } : { ...right, root: leafHash.slice(1) },
        { ...right, leafHash: flip(leafHash, salt) },
        { ...right, root: flip(right.root, salt) },
      ][what];
      assert.ok(wrong && !verifyInclusion(wrong));
    }),
    { numRuns: 300 },
  );
});

test("a proof of consistency holds for no other sizes, roots or path", async () => {
  await fc.assert(
    fc.asyncProperty(pair, fc.nat(), fc.integer({ min: 0, max: 5 }), async ([toSize, before], salt, what) => {
      const fromSize = before + 1;
      const leaves = leavesOf(toSize);
      const hashes = naiveProof(fromSize, leaves);
      const right = {
        fromSize,
        fromRoot: naiveRoot(leaves.slice(0, fromSize)),
        toSize,
        toRoot: naiveRoot(leaves),
        hashes,
      };
      assert.ok(verifyConsistency(right));
      const wrong = [
        { ...right, fromRoot: flip(right.fromRoot, salt) },
        { ...right, toRoot: flip(right.toRoot, salt) },
        { ...right, hashes: [...hashes, flip(right.toRoot, 0)] },
        hashes.length > 0 ? { ...right, hashes: hashes.slice(0, -1) } : { ...right, toSize: toSize + 1 },
        hashes.length > 0
          ? { ...right, hashes: hashes.with(salt % hashes.length, flip(right.toRoot, 1)) }
          : { ...right, fromSize: 0 },
        { ...right, fromSize: toSize + 1 },
      ][what];
      assert.ok(wrong && !verifyConsistency(wrong));
    }),
    { numRuns: 300 },
  );
});

test("from nothing, to itself, and numbers that are none", () => {
  const [empty, root] = [naiveRoot([]), naiveRoot(leavesOf(3))];
  assert.ok(verifyConsistency({ fromSize: 0, fromRoot: empty, toSize: 3, toRoot: root, hashes: [] }));
  assert.ok(verifyConsistency({ fromSize: 3, fromRoot: root, toSize: 3, toRoot: root, hashes: [] }));
  assert.equal(verifyConsistency({ fromSize: 0, fromRoot: root, toSize: 3, toRoot: root, hashes: [] }), false);
  assert.equal(verifyConsistency({ fromSize: 3, fromRoot: empty, toSize: 3, toRoot: root, hashes: [] }), false);
  for (const size of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
    assert.equal(verifyInclusion({ index: 0, size, leafHash: root, root, hashes: [] }), false);
    assert.equal(verifyConsistency({ fromSize: size, fromRoot: root, toSize: 3, toRoot: root, hashes: [] }), false);
  }
});

function flip(bytes: Uint8Array, salt: number): Uint8Array {
  return Uint8Array.from(bytes, (byte, i) => (i === salt % bytes.length ? byte ^ 1 : byte));
}
