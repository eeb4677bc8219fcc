/** The registry takes nothing on a publisher's word: every part of a publication is exchanged, and nothing is kept. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { type TestContext, test } from "node:test";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { fromUtf8, type ModelkeepError } from "../../src/base/index.ts";
import * as contract from "../../src/contract/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { publishSealed } from "../../src/publisher/index.ts";
import { rewrapSealed, SEAL_PREDICATE_TYPE, SEALED_NAMES } from "../../src/sealing/index.ts";
import { serverError } from "../../src/server/errors.ts";
import { createModelRegistry } from "../../src/server/models.ts";
import { loadEcSigner, type ModelSigner, makeBundle, signStatement } from "../../src/signing/index.ts";
import type { RecordStore } from "../../src/store/index.ts";
import { type PublishFixture, preparePublish } from "../publisher/support.ts";
import { fileUri } from "./support.ts";

/** What a publisher sends, taken from an honest publication as `tiny@1`, to be sent again as `again@1`. */
async function honest(t: TestContext): Promise<{ fixture: PublishFixture; body: contract.Publication }> {
  const fixture = await preparePublish(t);
  await publishSealed(fixture.options);
  const { store, signer } = fixture.options;
  const read = async (name: string) => fromUtf8(await store.readAll(`tiny/1/${name}`, 1 << 24));
  const body = {
    name: "again",
    version: "1",
    public_key: signer.publicKeyPem,
    bundle: await read(SEALED_NAMES.bundle),
    statements: {
      seal: await read(SEALED_NAMES.seal),
      bom: await read(SEALED_NAMES.bom),
      findings: await read(SEALED_NAMES.findings),
    },
    envelope: await read(SEALED_NAMES.envelope),
    store_uri: store.uri,
    prefix: "tiny/1",
  };
  return { fixture, body };
}

async function assertRefused({ keep }: PublishFixture, body: contract.Publication, code: string): Promise<void> {
  await assert.rejects(keep.admin.api.call(contract.publishModel, { body }), { code });
  const { models } = await keep.admin.api.call(contract.listModels, {});
  assert.deepEqual(
    models.map(({ name }) => name),
    ["tiny"],
  );
}

function newSigner(): ModelSigner {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return loadEcSigner(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })));
}

function rootOf(body: contract.Publication): string {
  return (JSON.parse(body.envelope) as { root_digest: string }).root_digest;
}

const clean = {
  scan_verdict: "clean",
  vulnerabilities: { critical: 0, high: 0, medium: 0, low: 0, unknown: 0, malware: 0 },
  advisories_matched: true,
};

test("the control: sent as it was, it is registered", async (t) => {
  const { fixture, body } = await honest(t);
  const model = await fixture.keep.admin.api.call(contract.publishModel, { body });
  assert.equal(model.root_digest, rootOf(body));
});

test("others are answered while a large publication is checked, piece by piece", async (t) => {
  const { fixture, body } = await honest(t);
  const { signer } = fixture.options;
  const components = Array.from({ length: 30_000 }, (_, index) => ({
    type: "library",
    name: `n${index}`,
    version: "1",
  }));
  const said = { predicateType: contract.BOM_PREDICATE_TYPE, rootDigest: rootOf(body), name: "tiny", signer };
  const bom = await signStatement({ ...said, predicate: { bomFormat: "CycloneDX", components } });
  let turns = 0;
  let turnsBefore = 0;
  const count = () => {
    turns++;
    turning = setImmediate(count);
  };
  let turning = setImmediate(count);
  t.after(() => clearImmediate(turning));
  const registry = createModelRegistry({
    store: { get: async () => undefined } as unknown as RecordStore,
    authorizer: () => ({ decide: () => ({ allowed: true, policies: [], errors: [] }) }),
    recorder: { record: async () => undefined },
    clock: systemClock,
    async proveEnvelope() {
      turnsBefore = turns;
      throw serverError("FORBIDDEN");
    },
  });
  const publication = { ...body, statements: { ...body.statements, bom } };
  const caller = { principal: { type: "Admin", id: "a" }, groups: [], tokenId: "t", expiresAt: 0, keyThumbprint: "" };
  await assert.rejects(registry.publish(publication, caller), { code: "FORBIDDEN" });
  assert.ok(turnsBefore >= 4, String(turnsBefore));
});

test("statements of another signer, about another model or of another kind are refused", async (t) => {
  const { fixture, body } = await honest(t);
  const { signer } = fixture.options;
  const say = (by: ModelSigner, predicateType: string, rootDigest: string) =>
    signStatement({ predicateType, predicate: clean, rootDigest, name: "tiny", signer: by });
  const findings = contract.FINDINGS_PREDICATE_TYPE;
  const forged = [
    await say(newSigner(), findings, rootOf(body)),
    await say(signer, findings, "0".repeat(64)),
    await say(signer, "urn:modelkeep:findings:v0", rootOf(body)),
    body.statements.bom,
    "{}",
    "",
    "[".repeat(1000),
  ];
  for (const text of forged) {
    const statements = { ...body.statements, findings: text };
    await assertRefused(fixture, { ...body, statements }, "PUBLICATION_REFUSED");
  }
  for (const part of ["seal", "bom"] as const) {
    const statements = { ...body.statements, [part]: await say(newSigner(), findings, rootOf(body)) };
    await assertRefused(fixture, { ...body, statements }, "PUBLICATION_REFUSED");
  }
});

test("findings that were changed after they were signed are refused", async (t) => {
  const { fixture, body } = await honest(t);
  const envelope = JSON.parse(body.statements.findings) as { payload: string };
  const payload = Buffer.from(envelope.payload, "base64")
    .toString()
    .replace('"advisories_matched":false', '"advisories_matched":true');
  const findings = JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString("base64") });
  assert.notEqual(findings, body.statements.findings);
  await assertRefused(fixture, { ...body, statements: { ...body.statements, findings } }, "PUBLICATION_REFUSED");
});

test("a signature of somebody else over the same files, or with somebody else's key named, is refused", async (t) => {
  const { fixture, body } = await honest(t);
  const stranger = newSigner();
  await assertRefused(fixture, { ...body, public_key: stranger.publicKeyPem }, "PUBLICATION_REFUSED");
  const bundle = JSON.parse(body.bundle) as { verificationMaterial: { publicKey: { hint: string } } };
  bundle.verificationMaterial.publicKey.hint = stranger.keyId;
  const renamed = { ...body, bundle: JSON.stringify(bundle), public_key: stranger.publicKeyPem };
  await assertRefused(fixture, renamed, "PUBLICATION_REFUSED");
});

test("a package whose signatures somebody made anew without its key is not released under his name", async (t) => {
  const { fixture, body } = await honest(t);
  const thief = newSigner();
  const payload = (envelope: string) => Buffer.from((JSON.parse(envelope) as { payload: string }).payload, "base64");
  const sign = (predicateType: string, predicate: object) =>
    signStatement({ predicateType, predicate, rootDigest: rootOf(body), name: "tiny", signer: thief });
  const { dsseEnvelope } = JSON.parse(body.bundle) as { dsseEnvelope: object };
  const seal = JSON.parse(payload(body.statements.seal).toString()) as { predicate: object };
  const stolen: contract.Publication = {
    ...body,
    name: "mine",
    public_key: thief.publicKeyPem,
    bundle: fromUtf8(await makeBundle(payload(JSON.stringify(dsseEnvelope)), thief)),
    statements: {
      seal: await sign(SEAL_PREDICATE_TYPE, seal.predicate),
      bom: await sign(contract.BOM_PREDICATE_TYPE, {}),
      findings: await sign(contract.FINDINGS_PREDICATE_TYPE, clean),
    },
  };
  await assertRefused(fixture, stolen, "PUBLICATION_REFUSED");
});

test("an envelope of another model, a changed one, and one that this server's key service cannot open are refused", async (t) => {
  const { fixture, body } = await honest(t);
  const envelope = JSON.parse(body.envelope) as {
    package_id: string;
    root_digest: string;
    recipients: { ciphertext: string }[];
  };
  const changed = [
    { ...envelope, package_id: "0".repeat(32) },
    { ...envelope, root_digest: "0".repeat(64) },
  ];
  for (const text of [...changed.map((value) => JSON.stringify(value)), "{}"])
    await assertRefused(fixture, { ...body, envelope: text }, "PUBLICATION_REFUSED");
  const [first] = envelope.recipients;
  const flipped = Buffer.from(first?.ciphertext ?? "", "base64");
  flipped[20] = (flipped[20] ?? 0) ^ 1;
  const damaged = { ...envelope, recipients: [{ ...first, ciphertext: flipped.toString("base64") }] };
  await assertRefused(fixture, { ...body, envelope: JSON.stringify(damaged) }, "UNWRAP_FAILED");
  const { store, wrappers } = fixture.options;
  const kms = fileUri(fixture.folder, "others.kek");
  await createKeyFile(kms, systemRandom);
  const others = [await openKeyWrapper(kms, { random: systemRandom })];
  const moved = await rewrapSealed(store, "tiny/1", wrappers, others);
  await assertRefused(fixture, { ...body, envelope: JSON.stringify(moved) }, "NO_KEY_SERVICE");
  const renamed = { ...moved, recipients: moved.recipients.map((entry) => ({ ...entry, kms: wrappers[0]?.uri })) };
  await assertRefused(fixture, { ...body, envelope: JSON.stringify(renamed) }, "NO_KEY_SERVICE");
});

test("names, versions and sizes outside the contract never reach the registry", async (t) => {
  const { fixture, body } = await honest(t);
  for (const name of ["", "A", "../x", "a/b", "a@b", "x".repeat(101)])
    await assertRefused(fixture, { ...body, name }, "INVALID_BODY");
  for (const version of ["", "1@2", "-1", "a b"]) await assertRefused(fixture, { ...body, version }, "INVALID_BODY");
  const bundle = " ".repeat(contract.PUBLICATION_BYTES + 1);
  await assertRefused(fixture, { ...body, bundle }, "BODY_TOO_LARGE");
});

test("who policy does not name may neither publish nor read nor report", async (t) => {
  const { fixture, body } = await honest(t);
  const { api } = await fixture.keep.workload("nobody");
  const params = { ref: "tiny@1" };
  const report = { package_id: "0".repeat(32), root_digest: "0".repeat(64), outcome: "loaded" } as const;
  await assert.rejects(api.call(contract.publishModel, { body }), { code: "FORBIDDEN" });
  await assert.rejects(api.call(contract.getModel, { params }), { code: "FORBIDDEN" });
  await assert.rejects(api.call(contract.listModels, {}), { code: "FORBIDDEN" });
  await assert.rejects(api.call(contract.reportLoad, { params, body: report }), { code: "FORBIDDEN" });
  const { entries } = await fixture.keep.admin.api.call(contract.listAudit, { body: { outcome: "refused" } });
  assert.equal(entries.filter(({ principal }) => principal === 'Workload::"nobody"').length, 4);
});

test("whatever name is asked for, the refusal is recorded, and what is to be typed is one word of a shell", async (t) => {
  const fixture = await preparePublish(t);
  const { api } = await fixture.keep.workload("nobody");
  const hostile = ["x'; touch owned; '@1", "\u0000".repeat(1500), "\u{1f511}".repeat(400), "..", "tiny@1/loads?x"];
  for (const ref of hostile) {
    const error = await api.call(contract.getModel, { params: { ref } }).then(
      () => assert.fail("it was answered"),
      (thrown: unknown) => thrown as ModelkeepError,
    );
    assert.ok(["FORBIDDEN", "NO_SUCH_ROUTE"].includes(error.code), `${ref.slice(0, 20)}: ${error.code}`);
    if (error.code !== "FORBIDDEN") continue;
    const command = error.hint?.replace(/^.*: modelkeep/, "printf '%s\\n'") ?? "";
    const words = execFileSync("sh", ["-c", command.replaceAll("\0", "")], { encoding: "utf8" }).split("\n");
    assert.ok(words.at(-2)?.startsWith('Model::"'), words.at(-2));
    assert.ok(!words.includes("touch"));
  }
  const { entries } = await fixture.keep.admin.api.call(contract.listAudit, { body: { outcome: "refused" } });
  assert.equal(entries.filter(({ principal }) => principal === 'Workload::"nobody"').length, hostile.length - 1);
});

test("two publications of one version at once: one is registered, the other is told so", async (t) => {
  const { fixture, body } = await honest(t);
  const { api } = fixture.keep.admin;
  const both = await Promise.allSettled([1, 2].map(() => api.call(contract.publishModel, { body })));
  assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  const failed = both.find(({ status }) => status === "rejected");
  assert.equal(failed?.status === "rejected" && failed.reason.code, "MODEL_EXISTS");
});
