/** The door to the machine: bounded reads, atomic writes, guarded memory as the kernel sees it. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  GuardedBytes,
  MAX_GUARDED_BYTES,
  readFileBounded,
  systemRandom,
  writeFileAtomic,
} from "../../src/host/index.ts";

const folder = mkdtempSync(join(tmpdir(), "modelkeep-host-"));
after(() => rmSync(folder, { recursive: true }));

test("readFileBounded reads to the last byte and not one over the limit", async () => {
  const path = join(folder, "a");
  writeFileSync(path, new Uint8Array(1000).fill(7));
  assert.equal((await readFileBounded(path, 1000)).length, 1000);
  await assert.rejects(readFileBounded(path, 999), { code: "LIMIT_EXCEEDED" });
  await assert.rejects(readFileBounded(join(folder, "none"), 1), { code: "FILE_NOT_FOUND" });
  await assert.rejects(readFileBounded(folder, 1), { code: "FILE_UNREADABLE" });
  truncateSync(path, 0);
  assert.equal((await readFileBounded(path, 1)).length, 0);
});

test("readFileBounded does not believe the size that a pseudo file states", async (t) => {
  if (!existsSync("/proc/self/status")) return t.skip("no /proc on this machine: run it on Linux");
  assert.ok((await readFileBounded("/proc/self/status", 65_536)).length > 100);
  await assert.rejects(readFileBounded("/proc/self/status", 10), { code: "LIMIT_EXCEEDED" });
  await assert.rejects(readFileBounded("/dev/zero", 10_000), { code: "LIMIT_EXCEEDED" });
});

test("writeFileAtomic replaces whole files with the asked mode and leaves no temporary file", async () => {
  const path = join(folder, "b");
  await writeFileAtomic(path, new Uint8Array([1]), { mode: 0o600 });
  await writeFileAtomic(path, new Uint8Array([2, 3]), { mode: 0o600 });
  assert.deepEqual([...readFileSync(path)], [2, 3]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await assert.rejects(writeFileAtomic(join(folder, "none", "c"), new Uint8Array(1)), { code: "FILE_UNWRITABLE" });
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith(".tmp")),
    [],
  );
});

test("guarded memory takes the bytes, wipes their source and fails after it was wiped", () => {
  const source = Uint8Array.from([1, 2, 3]);
  const guarded = GuardedBytes.take(source);
  assert.deepEqual([...source], [0, 0, 0]);
  assert.deepEqual(
    guarded.use((bytes) => [...bytes]),
    [1, 2, 3],
  );
  assert.equal(JSON.stringify({ guarded }), '{"guarded":"[guarded]"}');
  guarded.wipe();
  guarded.wipe();
  assert.throws(() => guarded.use(() => 0), { code: "MEMORY_WIPED" });
  assert.throws(() => GuardedBytes.allocate(0), RangeError);
  assert.throws(() => GuardedBytes.allocate(MAX_GUARDED_BYTES + 1), RangeError);
});

test("the kernel has the page locked and out of core dumps, and pages are used again", (t) => {
  if (!existsSync("/proc/self/smaps")) return t.skip("no /proc/self/smaps on this machine: run it on Linux");
  const locked = () =>
    [...readFileSync("/proc/self/smaps", "utf8").matchAll(/^VmFlags:(.*)$/gm)].filter(
      ([, flags]) => / lo\b/.test(flags ?? "") && / dd\b/.test(flags ?? ""),
    ).length;
  const guarded = GuardedBytes.take(systemRandom.bytes(57));
  const one = guarded.use(locked);
  assert.ok(one >= 2, "neither the master nor the open page is locked and excluded from dumps");
  guarded.wipe();
  for (let round = 0; round < 5_000; round++) {
    const again = GuardedBytes.allocate(57);
    assert.ok(
      again.use((bytes) => bytes.every((byte) => byte === 0)),
      "a page was handed out with what was in it before",
    );
    again.use((bytes) => bytes.fill(9));
    again.wipe();
  }
  assert.equal(locked(), one);
});
