/** Folders are made with what leads to them, or refused; on no file system for ever. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { files } from "../../src/host/index.ts";

const recursive = { recursive: true } as const;

test("folders of a file system that makes none are refused at once", { timeout: 10_000 }, async (t) => {
  if (process.platform !== "linux") return t.skip("needs /proc: run it on Linux");
  for (const path of ["/proc/modelkeep", "/proc/modelkeep/models/keeper"])
    await assert.rejects(files.mkdir(path, recursive), { code: "ENOENT" });
});

test("what Node answers where it does: first made, modes, files and links in the way, many at once", async (t) => {
  const root = fs.mkdtempSync(join(tmpdir(), "modelkeep-folders-"));
  t.after(() => fs.rmSync(root, { recursive: true }));
  const at = (...parts: string[]) => join(root, ...parts);
  assert.equal(await files.mkdir(at("a/b/c"), { recursive: true, mode: 0o700 }), at("a"));
  for (const name of ["a", "a/b", "a/b/c"]) assert.equal(fs.statSync(at(name)).mode & 0o777, 0o700);
  assert.equal(await files.mkdir(at("a/b/c"), recursive), undefined);
  assert.equal(await files.mkdir(at("a/b/d"), recursive), at("a/b/d"));
  await assert.rejects(files.mkdir(at("a/b/d")), { code: "EEXIST" });
  await assert.rejects(files.mkdir(at("x/y")), { code: "ENOENT" });
  fs.writeFileSync(at("file"), "");
  await assert.rejects(files.mkdir(at("file"), recursive), { code: "EEXIST" });
  await assert.rejects(files.mkdir(at("file/x/y"), recursive), { code: "ENOTDIR" });
  fs.symlinkSync(at("nothing"), at("link"));
  await assert.rejects(files.mkdir(at("link/x/y"), recursive), { code: "ENOENT" });
  fs.symlinkSync(at("a"), at("good"));
  assert.equal(await files.mkdir(at("good/new"), recursive), at("good/new"));
  const deep = at("race", ...Array.from({ length: 20 }, (_, level) => String(level)));
  const made = await Promise.all(Array.from({ length: 16 }, () => files.mkdir(deep, recursive)));
  assert.ok(fs.statSync(deep).isDirectory() && made.includes(at("race")));
});
