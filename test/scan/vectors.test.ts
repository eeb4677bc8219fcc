/** The public samples of three scanners, by name: the verdict of each is what their authors say. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { scanFile, scanModel } from "../../src/scan/index.ts";
import { ABSENT, vectors } from "./support.ts";

/** Samples whose verdict differs on purpose, with the verdict given here. */
const DIFFERENCES: Readonly<Record<string, string>> = {};
const SAMPLES = 104;

interface Sample {
  readonly file: string;
  readonly expected: string;
  readonly sha256: string;
}

test("public samples", async (t) => {
  if (!existsSync(vectors)) return t.skip(ABSENT);
  const { files } = JSON.parse(readFileSync(join(vectors, "expected.json"), "utf8")) as { files: Sample[] };
  assert.equal(files.length, SAMPLES);
  for (const { file, expected, sha256 } of files) {
    await t.test(`${expected}: ${file}`, async () => {
      const path = join(vectors, file);
      assert.equal(
        createHash("sha256").update(readFileSync(path)).digest("hex"),
        sha256,
        "the sample is not the one named",
      );
      const report = await scanFile(path, file);
      assert.equal(report.verdict, DIFFERENCES[file] ?? expected, JSON.stringify(report.findings));
      assert.equal(report.findings.length === 0, report.verdict === "clean");
    });
  }
});

test("the example model is clean", async () => {
  const report = await scanModel({ root: join(import.meta.dirname, "../../examples/model/keeper") });
  assert.equal(report.verdict, "clean", JSON.stringify(report));
  assert.ok(report.files.length >= 7);
});
