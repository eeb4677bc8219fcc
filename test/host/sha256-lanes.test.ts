/** Two streams hashed at once come out as each would alone. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFileSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { batchesOf, bytesOf, HASH_LIMITS } from "../../src/host/hash-batches.ts";
import { hashPairs, RunError, suitPairs } from "../../src/host/hash-pairs.ts";
import type { FileRun, RunDigests } from "../../src/host/hash-run.ts";
import { hashRuns } from "../../src/host/index.ts";
import { loadSha256Lanes, newSha256State, type Sha256Lanes } from "../../src/host/sha256-lanes.ts";
import { temporaryFolder } from "../sealing/support.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const bytesOfLength = (length: number, seed: number) =>
  Buffer.from(Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 7 + seed) & 255));

async function lanesOrSkip(t: TestContext): Promise<Sha256Lanes | undefined> {
  const lanes = await loadSha256Lanes();
  if (!lanes) t.skip("two streams at once: needs Linux on x64 with SHA instructions (sha_ni) and the package koffi");
  return lanes;
}

function put(lanes: Sha256Lanes, lane: 0 | 1, bytes: Uint8Array): number {
  lanes.buffers[lane].set(bytes);
  return bytes.length;
}

function drain(steps: Generator<number, RunDigests[]>): { digests: RunDigests[]; bytes: number } {
  let bytes = 0;
  for (;;) {
    const step = steps.next();
    if (step.done) return { digests: step.value, bytes };
    bytes += step.value;
  }
}

test("streams of any two lengths, in any pieces, give the digests of node:crypto", async (t) => {
  const lanes = await lanesOrSkip(t);
  if (!lanes) return;
  const length = fc.oneof(fc.nat(300), fc.nat(100_000));
  fc.assert(
    fc.property(length, length, fc.integer({ min: 1, max: 600 }), (first, second, blocks) => {
      const wholes = [bytesOfLength(first, 1), bytesOfLength(second, 2)] as const;
      const states = [newSha256State(), newSha256State()] as const;
      const piece = blocks * lanes.blockBytes;
      const rest: [Uint8Array, Uint8Array] = [wholes[0], wholes[1]];
      while (rest.some((bytes) => bytes.length >= lanes.blockBytes)) {
        const lengths = [put(lanes, 0, rest[0].subarray(0, piece)), put(lanes, 1, rest[1].subarray(0, piece))] as const;
        lanes.update(states, lengths);
        for (const lane of [0, 1] as const)
          rest[lane] = rest[lane].subarray(lengths[lane] - (lengths[lane] % lanes.blockBytes));
      }
      for (const lane of [0, 1] as const) assert.equal(lanes.finish(states[lane], rest[lane]), sha256(wholes[lane]));
    }),
  );
});

test("a message of over 512 MiB has the high word of its length", async (t) => {
  const lanes = await lanesOrSkip(t);
  if (!lanes) return;
  const chunk = lanes.buffers[0].length;
  for (const buffer of lanes.buffers) buffer.fill(7);
  const [state, plain] = [newSha256State(), createHash("sha256")];
  for (let done = 0; done <= 2 ** 29; done += chunk) {
    lanes.update([state], [chunk, 0]);
    plain.update(lanes.buffers[0]);
  }
  assert.equal(lanes.finish(state, new Uint8Array()), plain.digest("hex"));
});

test("runs of any number, size and parts are hashed in pairs as if each stood alone", async (t) => {
  const lanes = await lanesOrSkip(t);
  if (!lanes) return;
  const folder = temporaryFolder();
  const part = fc.oneof(fc.nat(200), fc.nat(600_000), fc.constant(lanes.buffers[0].length));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(part, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 }),
      async (files) => {
        const expected: string[][] = [];
        const runs = files.map((parts, index): FileRun => {
          const path = join(folder, `f${index}`);
          const pieces = parts.map((length, at) => bytesOfLength(length, index + at));
          writeFileSync(path, Buffer.concat(pieces));
          expected.push(pieces.map(sha256));
          const ends = parts.map((_, at) => parts.slice(0, at + 1).reduce((sum, length) => sum + length, 0));
          return { path, start: 0, ends, isLast: true };
        });
        const { digests, bytes } = drain(hashPairs(lanes, runs));
        assert.deepEqual(digests, expected);
        assert.equal(
          bytes,
          files.flat().reduce((sum, length) => sum + length, 0),
        );
      },
    ),
    { numRuns: 25 },
  );
});

test("a file that is shorter or longer than its run has no digest, and the others keep theirs", async (t) => {
  const lanes = await lanesOrSkip(t);
  if (!lanes) return;
  const folder = temporaryFolder();
  const whole = bytesOfLength(700_000, 3);
  const runs = ["short", "as it should be", "long"].map((name): FileRun => {
    writeFileSync(join(folder, name), whole);
    return { path: join(folder, name), start: 0, ends: [whole.length], isLast: true };
  });
  truncateSync(join(folder, "short"), whole.length - 1);
  appendFileSync(join(folder, "long"), "x");
  assert.deepEqual(drain(hashPairs(lanes, runs)).digests, [undefined, [sha256(whole)], undefined]);
});

test("a link, a folder and a file that is gone are errors that name the file", async (t) => {
  const lanes = await lanesOrSkip(t);
  if (!lanes) return;
  const folder = temporaryFolder();
  writeFileSync(join(folder, "file"), "x");
  symlinkSync("file", join(folder, "link"));
  mkdirSync(join(folder, "folder"));
  for (const name of ["link", "folder", "gone"]) {
    const runs = ["file", name].map(
      (path): FileRun => ({ path: join(folder, path), start: 0, ends: [1], isLast: true }),
    );
    assert.throws(
      () => drain(hashPairs(lanes, runs)),
      (error) => error instanceof RunError && error.path === join(folder, name),
    );
  }
});

test("large files over threads and pairs have the digests that one stream gives", async () => {
  const folder = temporaryFolder();
  const sizes = [40, 33, 21, 20, 17, 1].map((mib, index) => mib * 2 ** 20 + index);
  const runs = sizes.map((size, index): FileRun => {
    const path = join(folder, `f${index}`);
    writeFileSync(path, Buffer.alloc(size, index + 1));
    return { path, start: 0, ends: [size], isLast: true };
  });
  const expected = sizes.map((size, index) => [sha256(Buffer.alloc(size, index + 1))]);
  for (const threads of [1, 2]) assert.deepEqual(await hashRuns(runs, { hash: "sha256", threads }), expected);
});

test("every run is dealt once, and large ones in pairs", () => {
  const mib = 2 ** 20;
  fc.assert(
    fc.property(fc.array(fc.nat(200), { maxLength: 150 }), fc.integer({ min: 1, max: 8 }), (sizes, threads) => {
      const runs = sizes.map(
        (size, index): FileRun => ({ path: `${index}`, start: 0, ends: [size * mib], isLast: true }),
      );
      const batches = batchesOf(runs, threads, true);
      const dealt = batches.flatMap(({ indexes }) => indexes).sort((a, b) => a - b);
      assert.deepEqual(dealt, [...runs.keys()]);
      for (const { runs: some, bytes } of batches) {
        assert.equal(
          some.reduce((sum, run) => sum + bytesOf(run), 0),
          bytes,
        );
        assert.ok(some.length <= HASH_LIMITS.batchRuns);
      }
      const large = sizes.filter((size) => size * mib * 2 > HASH_LIMITS.batchBytes).length;
      const alone = batches.filter(
        ({ runs: some }) => some.length === 1 && bytesOf(some[0] as FileRun) * 2 > HASH_LIMITS.batchBytes,
      );
      if (large >= threads * 2) assert.equal(alone.filter(({ bytes }) => bytes < 50 * mib).length, 0);
    }),
  );
  assert.equal(suitPairs([{ path: "", start: 0, ends: [1], isLast: true }]), false);
});
