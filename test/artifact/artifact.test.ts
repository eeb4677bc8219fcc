/** Walking a model and the folder store: names, links, pipes, limits, atomic writes, and a reader beside a writer. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import {
  ARTIFACT_LIMITS,
  checkModelPath,
  digestFile,
  openBlobStore,
  readChunks,
  walkModel,
} from "../../src/artifact/index.ts";
import { codeOf, makeStore, temporaryFolder, writeModel } from "../sealing/support.ts";

const paths = async (root: string, options = {}) => (await walkModel(root, options)).map(({ path }) => path);

test("every regular file is found, hidden ones too, and the four of git are left out at the top only", async () => {
  const root = writeModel({
    ".git/HEAD": "",
    ".github/x/y": "",
    ".gitignore": "",
    ".gitattributes": "",
    ".gitmodules": "",
    ".env": "",
    "sub/.git/HEAD": "",
    "sub/.gitignore": "",
    "cache/a/b": "",
    cache2: "",
  });
  assert.deepEqual(await paths(root, { ignore: ["cache", "not-there"] }), [
    ".env",
    ".gitmodules",
    "cache2",
    "sub/.git/HEAD",
    "sub/.gitignore",
  ]);
  assert.deepEqual(await paths(join(root, "cache2")), ["."]);
});

test("what is not a regular file is refused unless it is ignored, and nothing is followed", async () => {
  const root = writeModel({ a: "1" });
  symlinkSync("..", join(root, "loop"));
  assert.equal(await codeOf(() => walkModel(root)), "MODEL_FILE_REFUSED");
  assert.deepEqual(await paths(root, { ignore: ["loop"] }), ["a"]);
  execFileSync("mkfifo", [join(root, "pipe")]);
  const told: string[] = [];
  assert.deepEqual(await paths(root, { onRefused: (path: string) => told.push(path) }), ["a"]);
  assert.deepEqual(told.sort(), ["loop", "pipe"]);
  assert.equal(await codeOf(() => walkModel(join(root, "pipe"))), "MODEL_FILE_REFUSED");
  assert.equal(await codeOf(() => walkModel(join(root, "absent"))), "MODEL_NOT_READABLE");
  const empty = writeModel({ ".git/x": "" });
  assert.equal(await codeOf(() => walkModel(empty)), "MODEL_EMPTY");
  assert.deepEqual(await walkModel(empty, { allowEmpty: true }), []);
});

test("names that are not UTF-8 and folders without end are refused", async () => {
  const root = writeModel({ a: "1" });
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.of(0xff, 0xfe)]), "");
  assert.equal(await codeOf(() => walkModel(root)), "MODEL_PATH_INVALID");
  const deep = writeModel({ a: "1" });
  mkdirSync(join(deep, ...Array.from({ length: ARTIFACT_LIMITS.depth + 2 }, () => "d")), { recursive: true });
  assert.equal(await codeOf(() => walkModel(deep)), "MODEL_PATH_INVALID");
});

test("a path from outside stays inside", async () => {
  for (const path of ["a", "a/b", "..a", "a..", ".hidden", "é", "a b"]) assert.equal(checkModelPath(path), path);
  const bad = ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/..", "a/../b", "a\\b", "a\0", "x".repeat(5_000)];
  for (const path of bad)
    assert.equal(await codeOf(() => checkModelPath(path)), "MODEL_PATH_INVALID", path.slice(0, 20));
  fc.assert(
    fc.property(fc.string(), (path) => {
      try {
        assert.ok(join("/model", checkModelPath(path)).startsWith("/model/"));
      } catch {}
    }),
  );
});

test("files are read in chunks of one buffer, and one that changed its length is noticed", async () => {
  const root = writeModel({ a: "0123456789" });
  const read = async (chunkBytes: number, expected?: number) => {
    const out: string[] = [];
    for await (const chunk of readChunks(join(root, "a"), chunkBytes, expected))
      out.push(Buffer.from(chunk).toString());
    return out;
  };
  assert.deepEqual(await read(4), ["0123", "4567", "89"]);
  assert.deepEqual(await read(5, 10), ["01234", "56789"]);
  assert.equal(await codeOf(() => read(4, 11)), "MODEL_CHANGED");
  assert.equal(await codeOf(() => read(4, 9)), "MODEL_CHANGED");
  assert.equal(await digestFile(root, "a", 10), createHash("sha256").update("0123456789").digest("hex"));
  symlinkSync("a", join(root, "link"));
  assert.equal(await codeOf(() => digestFile(root, "link")), "MODEL_NOT_READABLE");
});

test("a blob is whole or not there, and a failed write leaves the old one", async () => {
  const folder = temporaryFolder();
  const store = await makeStore(folder);
  assert.deepEqual(await store.write("a/b.bin", [Buffer.from("01"), Buffer.from("23")]), {
    bytes: 4,
    confirmed: false,
  });
  const failing = async function* () {
    yield Buffer.from("half");
    throw new Error("the source broke");
  };
  await assert.rejects(store.write("a/b.bin", failing()), /the source broke/);
  assert.equal(Buffer.from(await store.readAll("a/b.bin", 100)).toString(), "0123");
  assert.deepEqual(readdirSync(join(folder, "a")), ["b.bin"]);
  const writes = Array.from({ length: 10 }, (_, index) => store.write("a/b.bin", [Buffer.alloc(10_000, index)]));
  const reads = Array.from({ length: 20 }, () => store.readAll("a/b.bin", 20_000));
  for (const bytes of await Promise.all(reads)) assert.equal(new Set(bytes).size <= 4, true, "never a mixture");
  await Promise.all(writes);
});

test("ranges, limits and absence", async () => {
  const store = await makeStore();
  await store.write("a", [Buffer.from("0123456789")]);
  const text = async (start: number, end: number) => Buffer.from(await store.read("a", start, end)).toString();
  assert.deepEqual([await text(2, 5), await text(8, 20), await text(20, 30), await text(5, 5)], ["234", "89", "", ""]);
  assert.equal((await store.readAll("a", 10)).length, 10);
  assert.equal(await codeOf(() => store.readAll("a", 9)), "LIMIT_EXCEEDED");
  assert.equal(await codeOf(() => store.read("b", 0, 1)), "BLOB_NOT_FOUND");
  assert.equal(await codeOf(() => store.read("a/b", 0, 1)), "BLOB_NOT_FOUND");
  assert.deepEqual(
    [await store.stat("a"), await store.stat("b"), await store.stat("a/b")],
    [{ bytes: 10 }, undefined, undefined],
  );
  assert.deepEqual([await store.delete("a"), await store.delete("a")], [true, false]);
});

test("a name never leaves the store, and links and pipes in it are no blobs", async () => {
  const folder = temporaryFolder();
  const store = await makeStore(join(folder, "store"));
  await store.write("a", [Buffer.from("x")]);
  const bad = ["", ".", "..", "../a", "/a", "a/", "a//b", "a/../b", ".tmp-x", "a\0", "a\\b", "x".repeat(2_000)];
  for (const name of bad) {
    for (const work of [
      () => store.read(name, 0, 1),
      () => store.stat(name),
      () => store.write(name, []),
      () => store.delete(name),
    ])
      assert.equal(await codeOf(work), "BLOB_NAME_INVALID", name.slice(0, 20));
  }
  writeFileSync(join(folder, "outside"), "secret");
  symlinkSync("../outside", join(folder, "store/link"));
  execFileSync("mkfifo", [join(folder, "store/pipe")]);
  mkdirSync(join(folder, "store/folder"));
  for (const name of ["link", "pipe", "folder"]) {
    assert.equal(await codeOf(() => store.readAll(name, 10)), "BLOB_NOT_FOUND", name);
    assert.equal(await store.stat(name), undefined, name);
  }
  await store.write("link", [Buffer.from("y")]);
  assert.equal(
    readFileSync(join(folder, "outside"), "utf8"),
    "secret",
    "a write replaces a link, it does not follow it",
  );
});

test("lists are sorted and hold blobs only; what was left unfinished is cleared where asked", async () => {
  const folder = temporaryFolder();
  const store = await makeStore(folder);
  for (const name of ["b/2", "b/10", "a", "b/1", "c/x"]) await store.write(name, [Buffer.from(name)]);
  for (const name of ["b/.tmp-1", "c/.tmp-2", "odd\tname"]) writeFileSync(join(folder, name), "");
  const list = async (prefix: string) => {
    const names: string[] = [];
    for await (const name of store.list(prefix)) names.push(name);
    return names;
  };
  assert.deepEqual(await list(""), ["a", "b/1", "b/10", "b/2", "c/x"]);
  assert.deepEqual(await list("b/1"), ["b/1", "b/10"]);
  await store.discardUnfinished("b/");
  assert.deepEqual(
    [readdirSync(join(folder, "b")).sort(), readdirSync(join(folder, "c")).sort()],
    [
      ["1", "10", "2"],
      [".tmp-2", "x"],
    ],
  );
  assert.deepEqual(await (await makeStore(join(folder, "absent"))).stat("a"), undefined);
});

test("addresses that name no folder", async () => {
  for (const uri of ["gopher://b/x", "", "file://host/x", "file:x", "/srv", "file:///a%2Fb", "file:///a%00b"])
    assert.equal(await codeOf(() => openBlobStore(uri)), "STORE_URI_UNKNOWN", uri);
  const file = join(temporaryFolder(), "file");
  appendFileSync(file, "");
  const store = await openBlobStore(pathToFileURL(file).href);
  assert.equal(await codeOf(() => store.write("a", [])), "STORE_UNWRITABLE");
});
