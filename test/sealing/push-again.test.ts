/** A copy that is older than what it is copied to: who was taken out of an envelope does not come back by a push. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { type BlobStore, openBlobStore } from "../../src/artifact/index.ts";
import { copySealed, rewrapSealed, shredSealed } from "../../src/sealing/index.ts";
import { codeOf, makeKms, makeSealed, openMade, temporaryFolder } from "./support.ts";

async function contentsOf(folder: string): Promise<Record<string, Buffer>> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const isFile = (name: string) => statSync(join(folder, name)).isFile();
  return Object.fromEntries(names.filter(isFile).map((name) => [name, readFileSync(join(folder, name))]));
}

async function pushed() {
  const made = await makeSealed({ "config.json": "{}" });
  const store = await openBlobStore(pathToFileURL(temporaryFolder()).href);
  const push = () => copySealed({ from: { store: made.store, prefix: "" }, to: { store, prefix: "" } });
  await push();
  return { made, store, push };
}

test("an old folder that is pushed again does not bring back who was taken out", async () => {
  const { made, store, push } = await pushed();
  const { wrapper } = await makeKms();
  await rewrapSealed(store, "", [made.wrapper], [wrapper]);
  assert.equal(await codeOf(push), "SEALED_EXISTS");
  assert.equal(await codeOf(() => openMade(made, { store })), "NO_KEY_SERVICE");
  await openMade({ ...made, wrapper }, { store });
});

test("what was rewrapped in the folder is put in place of what was shredded, and not of what is there", async () => {
  const { made, store, push } = await pushed();
  const { wrapper } = await makeKms();
  await rewrapSealed(made.store, "", [made.wrapper], [wrapper]);
  assert.equal(await codeOf(push), "SEALED_EXISTS");
  await openMade(made, { store });
  await shredSealed(store, "");
  await push();
  await openMade({ ...made, wrapper }, { store });
  await push();
});

test("a push that did not come to its seal goes on with the envelope of the folder", async () => {
  const { made, store, push } = await pushed();
  const { wrapper } = await makeKms();
  await store.delete("seal.json");
  await rewrapSealed(made.store, "", [made.wrapper], [wrapper]);
  await push();
  await openMade({ ...made, wrapper }, { store });
});

test("a push that is overtaken by another one, and by a rewrap, does not bring back who was taken out", async () => {
  const { made, store } = await pushed();
  const target = await openBlobStore(pathToFileURL(temporaryFolder()).href);
  const { wrapper } = await makeKms();
  const copyTo = (to: BlobStore) => copySealed({ from: { store, prefix: "" }, to: { store: to, prefix: "" } });
  let overtaken = false;
  const slow = new Proxy(target, {
    get(_target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== "write") return typeof value === "function" ? value.bind(target) : value;
      return async (...words: Parameters<BlobStore["write"]>) => {
        if (words[0].startsWith("files/") && !overtaken) {
          overtaken = true;
          await copyTo(target);
          await rewrapSealed(target, "", [made.wrapper], [wrapper]);
        }
        return target.write(...words);
      };
    },
  });
  await copyTo(slow);
  assert.ok(overtaken);
  assert.equal(await codeOf(() => openMade(made, { store: target })), "NO_KEY_SERVICE");
  await openMade({ ...made, wrapper }, { store: target });
});

test("a pull after a rewrap brings the new envelope, and touches nothing else", async () => {
  const { made, store } = await pushed();
  const before = await contentsOf(made.folder);
  const { wrapper } = await makeKms();
  await rewrapSealed(store, "", [made.wrapper], [wrapper]);
  const pull = () =>
    copySealed({ from: { store, prefix: "" }, to: { store: made.store, prefix: "" }, replaced: "envelope" });
  assert.deepEqual(await pull().then(({ copiedBlobs }) => copiedBlobs), 0);
  await openMade({ ...made, wrapper });
  assert.equal(await codeOf(() => openMade(made)), "NO_KEY_SERVICE");
  const after = await contentsOf(made.folder);
  assert.deepEqual(
    Object.keys(after).filter((name) => !after[name]?.equals(before[name] ?? Buffer.alloc(0))),
    ["envelope.json"],
  );
  assert.deepEqual(Object.keys(after), Object.keys(before));
});

test("a pull brings no envelope for a payload that is damaged in the folder and in the store", async () => {
  const { made, store } = await pushed();
  const { wrapper } = await makeKms();
  await rewrapSealed(store, "", [made.wrapper], [wrapper]);
  const before = await made.store.readAll("envelope.json", 64 * 1024);
  await store.write("files/0.leaves", [Buffer.alloc(32, 1)]);
  const pull = () =>
    copySealed({ from: { store, prefix: "" }, to: { store: made.store, prefix: "" }, replaced: "envelope" });
  assert.equal(await codeOf(pull), "SEALED_TAMPERED");
  assert.deepEqual(await made.store.readAll("envelope.json", 64 * 1024), before);
});

test("a pull never brings the envelope of another package", async () => {
  const { made, store } = await pushed();
  const other = await makeSealed({ "config.json": "{}" });
  await store.write("envelope.json", [await other.store.readAll("envelope.json", 64 * 1024)]);
  for (const replaced of ["envelope", "all"] as const) {
    const pull = () => copySealed({ from: { store, prefix: "" }, to: { store: made.store, prefix: "" }, replaced });
    assert.equal(await codeOf(pull), "SEALED_TAMPERED");
  }
  await openMade(made);
});

for (const name of ["model.sig", "bom.json", "findings.json", "model.sig.d/other.sig"])
  test(`${name} of a finished target stays until it is said that it may go`, async () => {
    const { made, store } = await pushed();
    const copy = (replaced: "nothing" | "envelope" | "all") =>
      copySealed({ from: { store: made.store, prefix: "" }, to: { store, prefix: "" }, replaced });
    const text = async () => Buffer.from(await store.readAll(name, 1024 * 1024)).toString();
    if (name !== "model.sig") {
      await made.store.write(name, [Buffer.from("first")]);
      await copy("nothing");
      assert.equal(await text(), "first", "what is not there is added");
    }
    const before = await text();
    await made.store.write("envelope.json", [await made.store.readAll("envelope.json", 64 * 1024)]);
    await made.store.write(name, [Buffer.from("second")]);
    for (const replaced of ["nothing", "envelope"] as const)
      assert.equal(await codeOf(() => copy(replaced)), "SEALED_EXISTS");
    assert.equal(await text(), before);
    await copy("all");
    assert.equal(await text(), "second");
    await copy("nothing");
  });

test("what is refused at the end leaves what comes first as it was", async () => {
  const { made, store } = await pushed();
  await made.store.write("bom.json", [Buffer.from("new")]);
  await made.store.write("model.sig", [Buffer.from("new")]);
  assert.equal(
    await codeOf(() => copySealed({ from: { store: made.store, prefix: "" }, to: { store, prefix: "" } })),
    "SEALED_EXISTS",
  );
  assert.equal(await store.stat("bom.json"), undefined);
});
