/** `scan files`, as a person and as a pipeline see it. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { scanFiles } from "../../src/cli/commands/scan.ts";
import { evilPickle, inFolder, latin1, runCommand } from "./support.ts";

const keeper = join(import.meta.dirname, "../../examples/model/keeper");
const run = (cwd: string, ...words: string[]) => runCommand([scanFiles], cwd, {}, words);

test("a clean model", async () => {
  const { code, stdout, stderr } = await run(keeper, "scan", "files", ".");
  assert.deepEqual([code, stdout, stderr], [0, "clean: 7 files, 7 clean\n", ""]);
});

test("a poisoned model: one line per finding, exit 7", async () => {
  await inFolder(async (folder) => {
    writeFileSync(join(folder, "model.bin"), evilPickle);
    writeFileSync(join(folder, "notes.txt"), "hello\n");
    const { code, stdout } = await run(folder, "scan", "files", ".");
    assert.equal(code, 7);
    assert.equal(
      stdout,
      "malicious    model.bin  imports os.system  [pickle-dangerous-import]\nmalicious: 2 files, 1 clean, 1 malicious\n",
    );
  });
});

test("thresholds: what nobody can look into reaches suspicious, not malicious", async () => {
  await inFolder(async (folder) => {
    writeFileSync(join(folder, "a.7z"), latin1("7z\xbc\xaf\x27\x1c\x00\x04"));
    assert.equal((await run(folder, "scan", "files", ".")).code, 0);
    assert.equal((await run(folder, "scan", "files", ".", "--fail-on", "malicious")).code, 0);
    assert.equal((await run(folder, "scan", "files", ".", "--fail-on", "suspicious")).code, 7);
    assert.equal((await run(folder, "scan", "files", ".", "--fail-on", "nonsense")).code, 2);
  });
});

test("--json is one object of the documented shape", async () => {
  await inFolder(async (folder) => {
    mkdirSync(join(folder, "sub"));
    writeFileSync(join(folder, "sub/x"), evilPickle);
    const { code, stdout } = await run(folder, "scan", "files", "sub/x", "--json");
    assert.equal(code, 7);
    assert.deepEqual(JSON.parse(stdout), {
      verdict: "malicious",
      files: [
        {
          path: "x",
          verdict: "malicious",
          findings: [{ rule: "pickle-dangerous-import", severity: "malicious", message: "imports os.system" }],
        },
      ],
    });
  });
});

test("names from files cannot steer the terminal", async () => {
  await inFolder(async (folder) => {
    writeFileSync(join(folder, "a\u001b[2Jb.pkl"), latin1("\x80\x04cos\n\x1b[31msystem\n)R."));
    const { stdout } = await run(folder, "scan", "files", ".");
    assert.ok(!stdout.includes("\u001b"));
    assert.match(stdout, /malicious/);
  });
});

test("what is not there", async () => {
  await inFolder(async (folder) => {
    assert.equal((await run(folder, "scan", "files", "absent")).code, 1);
    assert.equal((await run(folder, "scan", "files", ".")).code, 1);
    assert.equal((await run(folder, "scan", "files")).code, 2);
  });
});
