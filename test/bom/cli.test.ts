/** `bom create`, `bom match` and `advisories import`, as a person and as a pipeline see them. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { advisoriesImport } from "../../src/cli/commands/advisories.ts";
import { bomCreate } from "../../src/cli/commands/bom.ts";
import { bomDiff, bomMerge, bomScore } from "../../src/cli/commands/bom-documents.ts";
import { bomMatch } from "../../src/cli/commands/bom-match.ts";
import { runCommand } from "../scan/support.ts";
import { keeper, range, record, schemaErrors, temporaryFolder, writeFolder } from "./support.ts";

const CRITICAL = {
  severity: [{ type: "CVSS_V3", score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }],
  aliases: ["CVE-1"],
};

function dump(): string {
  return writeFolder({
    "a.json": record("PYSEC-1", "torch", range({ introduced: "0" }, { fixed: "2.6.0" }), CRITICAL),
    "b.json": record("MAL-1", "evil", { versions: ["6.6.6"] }),
    "c.json": record("PYSEC-2", "mild", range({ introduced: "0" }), { database_specific: { severity: "LOW" } }),
  });
}

function at(cwd: string, data: string) {
  return (...words: string[]) =>
    runCommand(
      [bomCreate, bomMatch, bomMerge, bomDiff, bomScore, advisoriesImport],
      cwd,
      { XDG_DATA_HOME: data },
      words,
    );
}

test("from dumps to a verdict, without a network", async () => {
  const data = temporaryFolder();
  const run = at(temporaryFolder(), data);
  const early = await run("bom", "match", "--package", "pypi:torch@2.5.1");
  assert.equal(early.code, 1);
  assert.match(early.stderr, /hint: modelkeep advisories import/);
  const imported = await run("advisories", "import", dump());
  assert.equal(imported.code, 0);
  assert.match(imported.stdout, /^3 records for 3 packages, in .*modelkeep\/advisories\.idx\n$/);
  assert.deepEqual(readdirSync(join(data, "modelkeep")), ["advisories.idx"]);
  const match = await run("bom", "match", "--package", "pypi:torch@2.5.1+cu124");
  assert.deepEqual(
    [match.code, match.stdout],
    [0, "critical  torch 2.5.1+cu124  PYSEC-1 (CVE-1)  fixed in 2.6.0\n1 packages, 1 critical\n"],
  );
  assert.equal((await run("bom", "match", "--package", "pypi:torch@2.6.0", "--fail-on", "low")).code, 0);
});

test("thresholds, and malware whatever the threshold", async () => {
  const run = at(temporaryFolder(), temporaryFolder());
  await run("advisories", "import", dump());
  const exit = async (name: string, ...more: string[]) => (await run("bom", "match", "--package", name, ...more)).code;
  assert.equal(await exit("pypi:torch@2.5.0", "--fail-on", "critical"), 7);
  assert.equal(await exit("pypi:mild@1", "--fail-on", "medium"), 0);
  assert.equal(await exit("pypi:mild@1", "--fail-on", "low"), 7);
  assert.equal(await exit("pypi:evil@6.6.6"), 7);
  assert.equal(await exit("pypi:evil@6.6.5"), 0);
  assert.equal(await exit("pypi:mild@1", "--fail-on", "terrible"), 2);
  assert.equal(await exit("torch"), 2);
  assert.equal((await run("bom", "match")).code, 2);
});

test("a document is made, then matched; --json has the documented shape", async () => {
  const cwd = writeFolder({ "model/requirements.txt": "torch==2.5.0\n", "model/config.json": "{}" });
  const run = at(cwd, temporaryFolder());
  const made = await run("bom", "create", "model", "--output", "bom.json", "--name", "m", "--version", "1");
  assert.deepEqual([made.code, made.stdout], [0, "wrote bom.json: 3 components\n"]);
  assert.deepEqual(schemaErrors(JSON.parse(readFileSync(join(cwd, "bom.json"), "utf8"))), []);
  const { code, stdout } = await run("bom", "match", "bom.json", "--advisories", dump(), "--json");
  assert.equal(code, 0);
  const { matches, counts } = JSON.parse(stdout);
  assert.equal(counts.critical, 1);
  assert.deepEqual(
    matches.map((match: Record<string, unknown>) => [
      match.package,
      match.version,
      match.id,
      match.aliases,
      match.severity,
      match.fixed,
    ]),
    [["torch", "2.5.0", "PYSEC-1", ["CVE-1"], "critical", ["2.6.0"]]],
  );
});

test("standard output is the document itself", async () => {
  const { code, stdout } = await at(keeper, temporaryFolder())("bom", "create", ".");
  assert.equal(code, 0);
  assert.deepEqual(schemaErrors(JSON.parse(stdout)), []);
});

test("an index by path; a failed import keeps the old one", async () => {
  const cwd = temporaryFolder();
  const run = at(cwd, temporaryFolder());
  assert.equal((await run("advisories", "import", dump(), "--output", "a.idx")).code, 0);
  assert.equal((await run("advisories", "import", writeFolder({ x: "" }), "--output", "a.idx")).code, 1);
  assert.equal((await run("bom", "match", "--package", "pypi:mild@1", "--advisories", "a.idx")).code, 0);
  assert.ok(existsSync(join(cwd, "a.idx")));
  assert.equal((await run("bom", "match", "--package", "pypi:mild@1", "--advisories", "absent.idx")).code, 1);
  assert.equal((await run("bom", "match", "absent.json", "--advisories", "a.idx")).code, 1);
});
