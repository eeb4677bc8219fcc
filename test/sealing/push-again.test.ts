/** A copy that is older than what it is copied to: who was taken out of an envelope does not come back by a push. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { openBlobStore } from "../../src/artifact/index.ts";
import { copySealed, rewrapSealed, shredSealed } from "../../src/sealing/index.ts";
import { codeOf, makeKms, makeSealed, openMade, temporaryFolder } from "./support.ts";

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
