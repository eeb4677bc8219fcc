/** The signer policy where it is asked: before a model is sealed, registered, given a key, or run. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openBlobStore } from "../../src/artifact/index.ts";
import { createInsecureDevCollector } from "../../src/attestation/index.ts";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { acceptedSigner } from "../../src/cli/commands/run-trust.ts";
import { getPolicy, listAudit, listModels, type PublishedModel, setPolicy } from "../../src/contract/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { type PublishOptions, publishSealed } from "../../src/publisher/index.ts";
import { requestPackageKey } from "../../src/release/index.ts";
import { copySealed } from "../../src/sealing/index.ts";
import { startServer } from "../../src/server/index.ts";
import { makeStatement, readSignatureSet, readSignerPolicy, signModel } from "../../src/signing/index.ts";
import { writeModel } from "../publisher/support.ts";
import { codeOf, makePair, temporaryFolder } from "../sealing/support.ts";
import { configOf, fileUri, startTestServer, type TestServer } from "../server/support.ts";

const [publisher, reviewer, stranger] = [makePair(), makePair(), makePair()] as const;
const slsa = {
  buildDefinition: { buildType: "urn:x", externalParameters: {}, resolvedDependencies: [] },
  runDetails: { builder: { id: "urn:b" } },
};

const policyText = (rule: string) => `version: 1
signers: {publisher: {key: publisher.pub}, reviewer: {key: reviewer.pub}}
rules:
  - {models: ["tiny@*"], ${rule}}
`;
const TWO = "signers: [publisher, reviewer], threshold: 2, require: [seal, bom, slsa]";
const REVIEWER_ALONE = "signers: [reviewer], require: [seal]";

interface Stage {
  readonly folder: string;
  readonly root: string;
  readonly keep: TestServer;
  readonly options: PublishOptions;
  /** Writes the policy's one rule. */
  rule(text: string): void;
  restart(): Promise<void>;
}

async function prepare(t: TestContext, rule: string | undefined): Promise<Stage> {
  const folder = temporaryFolder();
  const kms = fileUri(folder, "models.kek");
  await createKeyFile(kms, systemRandom);
  const file = join(folder, "signers.yaml");
  const writeRule = (text: string) => writeFileSync(file, policyText(text));
  for (const [name, pair] of Object.entries({ publisher, reviewer }))
    writeFileSync(join(folder, `${name}.pub`), pair.publicPem);
  writeRule(rule ?? TWO);
  const base = { kms: [kms], insecure_dev_attestation: true };
  const flags = rule === undefined ? base : { ...base, signer_policy: file };
  const keep = await startTestServer({ flags });
  t.after(() => keep.stop());
  const root = join(folder, "tiny");
  writeModel(root);
  mkdirSync(join(folder, "store"));
  const options: PublishOptions = {
    root,
    name: "tiny",
    version: "1",
    signer: publisher.signer,
    wrappers: [await openKeyWrapper(kms, { random: systemRandom })],
    store: await openBlobStore(fileUri(folder, "store")),
    ignore: ["model.sig", "model.sig.d/slsa.json"],
    api: keep.admin.api,
    random: systemRandom,
  };
  let running = keep.server;
  const restart = async () => {
    await running.close();
    const config = await configOf(keep.folder, { ...flags, listen: new URL(keep.server.url).host });
    const server = await startServer({ config, version: "0", writeLog: () => undefined, talk: () => undefined });
    running = server;
    t.after(() => server.close());
  };
  return { folder, root, keep, options, rule: writeRule, restart };
}

/** The reviewer's signature and provenance, in the model's folder. */
async function review({ root, options }: Stage, by = reviewer): Promise<Required<Pick<PublishOptions, "beside">>> {
  const { bundle, rootDigest } = await signModel({ root, signer: by.signer, ignore: options.ignore ?? [] });
  writeFileSync(join(root, "model.sig"), bundle);
  mkdirSync(join(root, "model.sig.d"), { recursive: true });
  const statement = await makeStatement("slsa", { predicate: slsa, rootDigest, name: "tiny", signer: by.signer });
  writeFileSync(join(root, "model.sig.d/slsa.json"), statement);
  return { beside: await readSignatureSet(join(root, "model.sig")) };
}

async function published({ keep }: Stage): Promise<number> {
  return (await keep.admin.api.call(listModels, {})).models.length;
}

test("publish refuses before anything is sealed what the policy would not accept", async (t) => {
  const stage = await prepare(t, undefined);
  const signers = { policy: await readSignerPolicy(join(stage.folder, "signers.yaml")), atMs: Date.now() };
  const alone = publishSealed({ ...stage.options, signers });
  await assert.rejects(alone, { code: "SIGNER_POLICY_REFUSED" });
  const byStranger = publishSealed({ ...stage.options, signers, ...(await review(stage, stranger)) });
  await assert.rejects(byStranger, { code: "SIGNER_POLICY_REFUSED" });
  const other = publishSealed({ ...stage.options, name: "other", signers, ...(await review(stage)) });
  await assert.rejects(other, { code: "SIGNER_POLICY_REFUSED" });
  assert.deepEqual(readdirSync(join(stage.folder, "store")), []);
  assert.equal(await published(stage), 0);
  await publishSealed({ ...stage.options, signers, ...(await review(stage)) });
  assert.equal(await published(stage), 1);
});

test("the server refuses to register it too, whatever the publisher asked", async (t) => {
  const stage = await prepare(t, TWO);
  await assert.rejects(publishSealed(stage.options), { code: "SIGNER_POLICY_REFUSED" });
  const { beside } = await review(stage);
  const without = publishSealed({ ...stage.options, beside: { ...beside, statements: [] } });
  await assert.rejects(without, { code: "SIGNER_POLICY_REFUSED" });
  const twice = { ...beside, statements: [...beside.statements, ...beside.statements] };
  await assert.rejects(publishSealed({ ...stage.options, beside: twice }), { code: "SIGNER_POLICY_REFUSED" });
  assert.equal(await published(stage), 0);
  await publishSealed({ ...stage.options, beside });
  assert.equal(await published(stage), 1);
});

test("an old signature of other files beside a model is not sent along", async (t) => {
  const stage = await prepare(t, TWO);
  const { beside } = await review(stage);
  writeFileSync(join(stage.root, "config.json"), '{"model_type":"other"}');
  await assert.rejects(publishSealed({ ...stage.options, beside }), { code: "SIGNER_POLICY_REFUSED" });
});

test("a policy that is taken back stops the next key, and a rule of Cedar sees who signed", async (t) => {
  const stage = await prepare(t, TWO);
  const { beside } = await review(stage);
  const { model } = await publishSealed({ ...stage.options, beside });
  const { api } = stage.keep.admin;
  const { text } = await api.call(getPolicy, {});
  const rule = `permit (principal, action == Action::"releaseKey", resource == Model::"tiny@1")
when { context.signature has signers && context.signature.signers.contains("reviewer") };`;
  await api.call(setPolicy, { body: { text: `${text}\n${rule}` } });
  const ask = () => {
    const launch = {
      program: "p",
      arguments: [],
      model: "tiny@1",
      package_id: model.package_id,
      verify: "full",
    } as const;
    const collector = createInsecureDevCollector({ launch });
    return codeOf(async () => {
      (await requestPackageKey({ api, collector, model: "tiny@1", packageId: model.package_id })).wipe();
    });
  };
  assert.equal(await ask(), undefined);
  stage.rule(REVIEWER_ALONE);
  let code: string | undefined;
  for (let tries = 0; code === undefined && tries < 100; tries++) {
    await sleep(100);
    code = await ask();
  }
  assert.equal(code, "KEY_NOT_GRANTED", "without a restart");
  const { entries } = await api.call(listAudit, { body: { action: "signers.change" } });
  assert.equal(entries.length, 1);
  await stage.restart();
  assert.equal(await ask(), "KEY_NOT_GRANTED", "and after one");
  stage.rule(TWO);
  await stage.restart();
  assert.equal(await ask(), undefined);
});

test("a server whose signer policy cannot be read does not start", async () => {
  const signer_policy = join(temporaryFolder(), "none.yaml");
  assert.equal(await codeOf(() => startTestServer({ flags: { signer_policy } })), "FILE_NOT_FOUND");
  writeFileSync(signer_policy, "version: 1\n");
  assert.equal(await codeOf(() => startTestServer({ flags: { signer_policy } })), "SIGNER_POLICY_INVALID");
});

test("a host runs only what its own policy accepts, from what lies in the store", async (t) => {
  const stage = await prepare(t, undefined);
  const { beside } = await review(stage);
  const { model } = await publishSealed({ ...stage.options, beside });
  const keysFor = async (rule: string, publicKeys: string[] = [], of: PublishedModel = model) => {
    stage.rule(rule);
    const policy = await readSignerPolicy(join(stage.folder, "signers.yaml"));
    return (await acceptedSigner({ publicKeys, policy }, of, Date.now())).publicKeys;
  };
  assert.deepEqual(await keysFor(TWO), [publisher.publicPem]);
  assert.deepEqual(await keysFor(TWO, [publisher.publicPem]), [publisher.publicPem]);
  assert.equal(await codeOf(() => keysFor(TWO, [stranger.publicPem])), "SIGNER_NOT_TRUSTED");
  assert.equal(await codeOf(() => keysFor(REVIEWER_ALONE)), "SIGNER_POLICY_REFUSED");
  assert.equal(await codeOf(() => keysFor(TWO, [], { ...model, name: "other" })), "SIGNER_POLICY_REFUSED");
  const copy = await openBlobStore(fileUri(temporaryFolder()));
  const place = { store: stage.options.store, prefix: model.prefix };
  await copySealed({ from: place, to: { store: copy, prefix: "copied" } });
  assert.deepEqual(await keysFor(TWO, [], { ...model, store_uri: copy.uri, prefix: "copied" }), [publisher.publicPem]);
  rmSync(join(stage.folder, "store/tiny/1/model.sig.d"), { recursive: true });
  assert.equal(await codeOf(() => keysFor(TWO)), "SIGNER_POLICY_REFUSED");
});
