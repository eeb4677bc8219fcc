/** What a refused publication leaves in the store: nothing of its own, and everything that was there before. */
import assert from "node:assert/strict";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { getPolicy, listModels, setPolicy } from "../../src/contract/index.ts";
import { type PublishStep, publishSealed } from "../../src/publisher/index.ts";
import { rewrapSealed } from "../../src/sealing/index.ts";
import { loadEcSigner, signModel } from "../../src/signing/index.ts";
import { ecKey } from "../loader/support.ts";
import { fileUri } from "../server/support.ts";
import { type PublishFixture, preparePublish } from "./support.ts";

const FORBID = 'forbid (principal, action == Action::"publishModel", resource);';

async function prepare(t: TestContext) {
  const fixture = await preparePublish(t);
  const { api } = fixture.keep.admin;
  const { text } = await api.call(getPolicy, {});
  const store = join(fixture.folder, "store");
  return {
    ...fixture,
    policy: (more: string) => api.call(setPolicy, { body: { text: `${text}\n${more}` } }),
    stored: () =>
      globSync("**/*", { cwd: store, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name)),
  };
}

const models = async ({ keep }: PublishFixture) => (await keep.admin.api.call(listModels, {})).models.length;

test("a refused publication is gone from the store, with the signatures that lay beside it", async (t) => {
  const fixture = await prepare(t);
  const { options, stored, policy } = fixture;
  writeFileSync(join(fixture.folder, "store/stranger"), "not ours");
  await policy(FORBID);
  const other = loadEcSigner(ecKey().privatePem);
  const { bundle } = await signModel({ root: fixture.root, signer: other });
  const beside = { signatures: [{ name: "model.sig", bytes: bundle }], statements: [] };
  const told: string[] = [];
  const onStep = (step: PublishStep, about: string) => void told.push(`${step} ${about}`);
  await assert.rejects(publishSealed({ ...options, beside, onStep }), { code: "FORBIDDEN" });
  assert.deepEqual(
    stored().map((path) => path.split("/").at(-1)),
    ["stranger"],
  );
  assert.match(told.at(-1) ?? "", /^register refused: \d+ blobs/);
  await policy("");
  await publishSealed(options);
  assert.equal(await models(fixture), 1);
});

test("what an earlier run sealed is never touched, registered or not", async (t) => {
  const fixture = await prepare(t);
  const { options, stored, policy } = fixture;
  await publishSealed(options);
  const before = new Map(stored().map((path) => [path, readFileSync(path)]));
  await policy(FORBID);
  await assert.rejects(publishSealed(options), { code: "FORBIDDEN" });
  for (const [path, bytes] of before)
    if (/\.floe$|\.leaves$|seal|envelope|model\.sig/.test(path)) assert.deepEqual(readFileSync(path), bytes, path);
  assert.deepEqual(stored().sort(), [...before.keys()].sort());
  writeFileSync(join(fixture.root, "config.json"), '{"model_type":"other"}');
  await assert.rejects(publishSealed({ ...options, prefix: "elsewhere" }), { code: "FORBIDDEN" });
  await policy("");
  await assert.rejects(publishSealed({ ...options, prefix: "elsewhere" }), { code: "PUBLISHED_OTHERWISE" });
  assert.deepEqual(stored().sort(), [...before.keys()].sort());
});

test("after a failure that says nothing of the package the next run goes on with it", async (t) => {
  const fixture = await prepare(t);
  const { options, stored } = fixture;
  const broken = { ...options.api, call: () => Promise.reject(new Error("the network went away")) };
  await assert.rejects(publishSealed({ ...options, api: broken }), /went away/);
  const left = stored().length;
  assert.ok(left > 5);
  const told: string[] = [];
  await publishSealed({ ...options, onStep: (step, about) => void told.push(`${step} ${about}`) });
  assert.ok(told.some((line) => line.startsWith("seal was sealed before")));
  assert.equal(stored().length, left);
});

test("a package that another key service wraps stays, since it can be rewrapped", async (t) => {
  const fixture = await prepare(t);
  const { options, stored, folder } = fixture;
  const kms = fileUri(folder, "other.kek");
  await createKeyFile(kms, options.random);
  const wrappers = [await openKeyWrapper(kms, { random: options.random })];
  await assert.rejects(publishSealed({ ...options, wrappers }), { code: "NO_KEY_SERVICE" });
  assert.ok(stored().length > 5);
  await rewrapSealed(options.store, "tiny/1", wrappers, options.wrappers);
  await publishSealed(options);
  assert.equal(await models(fixture), 1);
});

test("a store that deletes nothing does not hide why the publication was refused", async (t) => {
  const { options, policy } = await prepare(t);
  await policy(FORBID);
  const store = new Proxy(options.store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name === "delete")
        return (blob: string) =>
          blob.endsWith(".done") ? target.delete(blob) : Promise.reject(new Error("read-only"));
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  await assert.rejects(publishSealed({ ...options, store }), { code: "FORBIDDEN" });
});
