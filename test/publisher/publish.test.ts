/** A publication: what it leaves behind, what stops it, and that it goes on wherever it was stopped. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { BlobStore } from "../../src/artifact/index.ts";
import { importAdvisories, openAdvisories } from "../../src/bom/index.ts";
import { getModel, listAudit, listModels } from "../../src/contract/index.ts";
import { type PublishStep, publishSealed } from "../../src/publisher/index.ts";
import { openWithKms } from "../../src/sealing/index.ts";
import { loadEcSigner, trustKeys } from "../../src/signing/index.ts";
import { ecKey } from "../loader/support.ts";
import { type PublishFixture, preparePublish, writeModel } from "./support.ts";

async function published({ keep }: PublishFixture): Promise<string[]> {
  const { models } = await keep.admin.api.call(listModels, {});
  return models.map(({ name, version }) => `${name}@${version}`);
}

/** Opens what lies in the store with the key service, and compares every file with the original. */
async function assertOpens({ options, root }: PublishFixture, prefix = "tiny/1"): Promise<void> {
  const files = new Map<string, Buffer>();
  const into = {
    async open(path: string) {
      const chunks: Buffer[] = [];
      return {
        async write(chunk: Uint8Array) {
          chunks.push(Buffer.from(chunk));
        },
        async close() {
          files.set(path, Buffer.concat(chunks));
        },
      };
    },
  };
  const { store, wrappers, random, signer } = options;
  await openWithKms({ store, prefix, trust: trustKeys([signer.publicKeyPem]), wrappers, into, random });
  assert.deepEqual([...files.keys()].sort(), readdirSync(root).sort());
  for (const [path, bytes] of files) assert.deepEqual(bytes, readFileSync(join(root, path)));
}

test("a published model can be opened, is on the server with its findings, and is in the log", async (t) => {
  const fixture = await preparePublish(t);
  const steps: PublishStep[] = [];
  const done = await publishSealed({ ...fixture.options, onStep: (step) => void steps.push(step) });
  assert.deepEqual(steps, ["scan", "bom", "match", "sign", "seal"]);
  assert.equal(done.already, false);
  assert.equal(done.model.scan_verdict, "clean");
  assert.equal(done.model.advisories_matched, false);
  assert.equal(done.model.signer_key_id, fixture.options.signer.keyId);
  await assertOpens(fixture);
  const kept = await fixture.keep.admin.api.call(getModel, { params: { ref: "tiny@1" } });
  assert.deepEqual(kept, done.model);
  const { entries } = await fixture.keep.admin.api.call(listAudit, { body: { model: "tiny@1" } });
  assert.deepEqual(
    entries.map(({ action, outcome }) => [action, outcome]),
    [["model.publish", "allowed"]],
  );
});

test("published again it says so; another model under the same version is refused", async (t) => {
  const fixture = await preparePublish(t);
  const first = await publishSealed(fixture.options);
  const again = await publishSealed(fixture.options);
  assert.equal(again.already, true);
  assert.equal(again.model.package_id, first.model.package_id);
  writeFileSync(join(fixture.root, "config.json"), '{"model_type":"other"}');
  await assert.rejects(publishSealed(fixture.options), { code: "PUBLISHED_OTHERWISE" });
  const elsewhere = publishSealed({ ...fixture.options, prefix: "elsewhere" });
  await assert.rejects(elsewhere, { code: "PUBLISHED_OTHERWISE" });
});

test("stopped at any write to the store it goes on, and what was stopped is never registered", async (t) => {
  const fixture = await preparePublish(t);
  const done: string[] = [];
  for (let at = 1; ; at++) {
    const options = { ...fixture.options, version: String(at) };
    try {
      await publishSealed({ ...options, store: failingAt(fixture.options.store, at) });
      assert.ok(at > 10, `only ${at - 1} writes were broken off`);
      break;
    } catch (error) {
      assert.equal(error instanceof Error ? error.message : "", "the disk went away");
    }
    assert.deepEqual((await published(fixture)).sort(), [...done].sort());
    await publishSealed(options);
    await assertOpens(fixture, `tiny/${at}`);
    done.push(`tiny@${at}`);
  }
});

/** The n-th write fails halfway. */
function failingAt(store: BlobStore, at: number): BlobStore {
  let writes = 0;
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== "write") return typeof value === "function" ? value.bind(target) : value;
      return (blob: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) => {
        if (++writes < at) return target.write(blob, chunks);
        return target.write(blob, brokenOff(chunks));
      };
    },
  });
}

async function* brokenOff(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    yield chunk.subarray(0, Math.floor(chunk.length / 2));
    throw new Error("the disk went away");
  }
}

test("a pickle that runs code stops it before anything is sealed; with --allow-findings policy stops it", async (t) => {
  const fixture = await preparePublish(t);
  const pickle = Buffer.from("cos\nsystem\n(S'true'\ntR.");
  writeFileSync(join(fixture.root, "weights.pkl"), pickle);
  await assert.rejects(publishSealed(fixture.options), { code: "SCAN_NOT_CLEAN" });
  assert.deepEqual(readdirSync(join(fixture.folder, "store")), []);
  await assert.rejects(publishSealed({ ...fixture.options, allowFindings: true }), { code: "FORBIDDEN" });
  assert.deepEqual(await published(fixture), []);
});

test("a library with a critical vulnerability is stopped by the default policy, one with a high is not", async (t) => {
  const fixture = await preparePublish(t);
  const dump = join(fixture.folder, "dump");
  mkdirSync(dump);
  for (const [id, name, score] of [
    ["TEST-1", "critical-lib", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"],
    ["TEST-2", "high-lib", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"],
  ]) {
    const affected = [
      {
        package: { ecosystem: "PyPI", name },
        ranges: [{ type: "ECOSYSTEM", events: [{ introduced: "0" }, { fixed: "2" }] }],
      },
    ];
    const severity = [{ type: "CVSS_V3", score }];
    const record = { id, modified: "2026-01-01T00:00:00Z", affected, severity };
    writeFileSync(join(dump, `${id}.json`), JSON.stringify(record));
  }
  const index = join(fixture.folder, "advisories.idx");
  await importAdvisories({ from: [dump], into: index });
  const advisories = await openAdvisories(index);
  t.after(() => advisories.close());
  writeModel(fixture.root, "critical-lib==1.0");
  const refused = publishSealed({ ...fixture.options, advisories });
  await assert.rejects(refused, { code: "FORBIDDEN" });
  writeModel(fixture.root, "high-lib==1.0");
  const done = await publishSealed({ ...fixture.options, version: "2", advisories });
  assert.deepEqual(done.model.vulnerabilities, { critical: 0, high: 1, medium: 0, low: 0, unknown: 0, malware: 0 });
  assert.equal(done.model.advisories_matched, true);
  assert.deepEqual(await published(fixture), ["tiny@2"]);
});

test("a stranger's signature over the same model is refused where policy names the publisher's key", async (t) => {
  const fixture = await preparePublish(t);
  const { getPolicy, setPolicy } = await import("../../src/contract/index.ts");
  const { text } = await fixture.keep.admin.api.call(getPolicy, {});
  const rule = `forbid (principal, action == Action::"publishModel", resource)
unless { context.signature.keyId == "${fixture.options.signer.keyId}" };`;
  await fixture.keep.admin.api.call(setPolicy, { body: { text: `${text}\n${rule}` } });
  const stranger = loadEcSigner(ecKey().privatePem);
  await assert.rejects(publishSealed({ ...fixture.options, signer: stranger }), { code: "FORBIDDEN" });
  assert.deepEqual(await published(fixture), []);
  await publishSealed({ ...fixture.options, prefix: "mine" });
  assert.deepEqual(await published(fixture), ["tiny@1"]);
});

test("it stops when it is told to", async (t) => {
  const fixture = await preparePublish(t);
  const stop = AbortSignal.abort();
  await assert.rejects(publishSealed({ ...fixture.options, signal: stop }), { code: "SCAN_STOPPED" });
  const late = new AbortController();
  const onStep = (step: PublishStep) => step === "seal" && late.abort();
  const stopped = publishSealed({ ...fixture.options, signal: late.signal, onStep });
  await assert.rejects(stopped, { code: "PUBLISH_STOPPED" });
  assert.deepEqual(await published(fixture), []);
});
