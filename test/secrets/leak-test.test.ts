/** `modelkeep doctor --leak-test`, as users run it; and that its search finds what it looks for. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { LeakReport } from "../../src/cli/leak-test/leak-test.ts";
import { needlesOf, scanFile, scanFolder, scanMemory, scanText } from "../../src/cli/leak-test/scan.ts";

const program = fileURLToPath(new URL("../../bin/modelkeep.mjs", import.meta.url));

test("no copy of a key in memory, core file, heap snapshot, disk, log, audit or metrics", {
  timeout: 400_000,
}, async (t) => {
  if (process.platform !== "linux") return t.skip("reads /proc: run it on Linux");
  const out = await new Promise<string>((resolve) => {
    execFile(process.execPath, [program, "doctor", "--leak-test", "--json"], { maxBuffer: 1e7 }, (_error, stdout) =>
      resolve(stdout),
    );
  });
  const { verdict, level, calls, scans } = JSON.parse(out) as LeakReport;
  t.diagnostic(`guarded memory: ${level}; ${calls} calls`);
  for (const { where, when, copies, about } of scans) t.diagnostic(`${where}, ${when}: ${about ?? `${copies} copies`}`);
  assert.equal(verdict, "ok");
  assert.ok(calls >= 50);
  assert.deepEqual(
    scans.map(({ where }) => where),
    [
      "memory",
      "core file",
      "heap snapshot",
      "memory",
      "core file",
      "heap snapshot",
      "log",
      "audit",
      "metrics",
      "environment",
      "disk",
    ],
  );
  assert.ok(scans.every(({ status, copies }) => status === "skipped" || copies === 0));
});

test("the search finds a key in every form, across the borders of what is read at once", async () => {
  const key = "sk-leaktest-0123456789abcdefghijklmnopqrstuvwxyz";
  const needles = needlesOf(key);
  const bytes = Buffer.from(`a${key}`);
  const texts = [
    key,
    `ab${key}`,
    bytes.toString("base64"),
    Buffer.from(`ab${key}`).toString("base64url"),
    bytes.toString("hex"),
  ];
  for (const text of texts) assert.ok(scanText(`x ${text} y`, needles).copies > 0, text);
  assert.equal(scanText(key.slice(0, 20), needles).copies, 0);
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-scan-"));
  try {
    for (const before of [0, 4 * 1024 * 1024 - 30, 4 * 1024 * 1024, 8 * 1024 * 1024 - 1]) {
      const path = join(folder, `at-${before}`);
      writeFileSync(path, Buffer.concat([Buffer.alloc(before), Buffer.from(key, "utf16le"), Buffer.from(key)]));
      assert.equal(scanFile(path, needles).copies, 2, `${before}`);
    }
    assert.equal((await scanFolder(folder, needles)).copies, 8);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  assert.equal(scanMemory(2 ** 30, needles), undefined);
});
