/** Good signatures of others beside a bundle of one's own: the policy accepts only what they signed, down to the names of files. */
import assert from "node:assert/strict";
import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { silentLog, utf8 } from "../../src/base/index.ts";
import { OID } from "../../src/codec/index.ts";
import { systemClock } from "../../src/host/index.ts";
import { Metrics } from "../../src/server/metrics.ts";
import { openSignerCheck, type SignedParts } from "../../src/server/signers.ts";
import {
  judgeByPolicy,
  loadEcSigner,
  type ModelSigner,
  makeBundle,
  makeStatement,
  readSignerPolicy,
  type StatementType,
} from "../../src/signing/index.ts";
import { codeOf, makePair, temporaryFolder } from "../sealing/support.ts";
import { makeCertificate } from "../support/der-writer.ts";

const [alice, bob] = [makePair(), makePair()];
const CONTENT = { "weights.bin": "weights", "config.json": "harmless" };
const RENAMED = { "config.json": "weights", "weights.bin": "harmless" };

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

function statementOf(files: Readonly<Record<string, string>>) {
  const resources = Object.entries(files).map(([name, text]) => ({ name, digest: sha256(text), algorithm: "sha256" }));
  const root = createHash("sha256");
  for (const { digest } of resources) root.update(digest, "hex");
  const rootDigest = root.digest("hex");
  const payload = {
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: "m", digest: { sha256: rootDigest } }],
    predicateType: "https://model_signing/signature/v1.0",
    predicate: { serialization: { method: "files", hash_type: "sha256", allow_symlinks: false }, resources },
  };
  return { rootDigest, payload: utf8(JSON.stringify(payload)) };
}

/** Mallory has a key that the rule names, and signs with a certificate that she made herself. */
const mallory = makeCertificate({
  subject: "Mallory",
  keyUsage: ["digitalSignature"],
  extendedKeyUsage: [OID.codeSigning],
});
const malloryKey = loadEcSigner(Buffer.from(mallory.privateKey.export({ type: "pkcs8", format: "pem" }).toString()));
const certified: ModelSigner = { ...malloryKey, certificates: [mallory.der] };

async function partsOf(
  files: Readonly<Record<string, string>>,
  { sealer = certified, others = CONTENT }: { sealer?: ModelSigner; others?: Readonly<Record<string, string>> } = {},
): Promise<SignedParts> {
  const { payload, rootDigest } = statementOf(files);
  const text = async (bytes: Uint8Array | Promise<Uint8Array>) => Buffer.from(await bytes).toString();
  const say = (type: StatementType, predicate: unknown) =>
    makeStatement(type, { predicate, rootDigest, name: "m", signer: sealer });
  const signed = statementOf(others).payload;
  return {
    public_key: sealer.publicKeyPem,
    bundle: await text(makeBundle(payload, sealer)),
    signatures: [await text(makeBundle(signed, alice.signer)), await text(makeBundle(signed, bob.signer))],
    statements: {
      seal: await say("seal", {}),
      bom: await say("bom", { bomFormat: "CycloneDX", specVersion: "1.6", components: [] }),
      findings: await say("findings", {}),
    },
  };
}

async function startCheck(t: TestContext) {
  const folder = temporaryFolder();
  for (const [name, pem] of Object.entries({
    alice: alice.publicPem,
    bob: bob.publicPem,
    mallory: malloryKey.publicKeyPem,
  }))
    writeFileSync(join(folder, `${name}.pub`), pem);
  const file = join(folder, "signers.yaml");
  const signers = "{alice: {key: alice.pub}, bob: {key: bob.pub}, mallory: {key: mallory.pub}}";
  const rule = '{models: ["m@*"], signers: [alice, bob, mallory], threshold: 2}';
  writeFileSync(file, `version: 1\nsigners: ${signers}\nrules: [${rule}]\n`);
  const recorder = { record: async () => undefined };
  const ports = { clock: systemClock, log: silentLog, recorder, metrics: new Metrics() };
  const check = await openSignerCheck({ config: { signer_policy: file }, ...ports });
  assert.ok(check);
  t.after(() => check.close());
  return check;
}

test("two signers of one model do not vouch for another that a third seals under the same root", async (t) => {
  const check = await startCheck(t);
  assert.equal(statementOf(CONTENT).rootDigest, statementOf(RENAMED).rootDigest);
  const swapped = await partsOf(RENAMED);
  assert.equal(await codeOf(() => check.accept("m@1", swapped).length), "SIGNER_POLICY_REFUSED");
  const changed = await partsOf({ ...CONTENT, "config.json": "evil" });
  assert.equal(await codeOf(() => check.accept("m@1", changed).length), "SIGNER_POLICY_REFUSED");
});

test("nor does one of two signers, who signs twice, take the other along to what he did not sign", async () => {
  const own = makeCertificate({
    subject: "Alice",
    keys: { privateKey: createPrivateKey(alice.privatePem), publicKey: createPublicKey(alice.publicPem) },
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [OID.codeSigning],
  });
  const folder = temporaryFolder();
  for (const [name, { publicPem }] of Object.entries({ alice, bob }))
    writeFileSync(join(folder, `${name}.pub`), publicPem);
  const signers = "{alice: {key: alice.pub}, bob: {key: bob.pub}}";
  const rule = '{models: ["m@*"], signers: [alice, bob], threshold: 2}';
  writeFileSync(join(folder, "p.yaml"), `version: 1\nsigners: ${signers}\nrules: [${rule}]\n`);
  const policy = await readSignerPolicy(join(folder, "p.yaml"));
  const judge = async (files: Readonly<Record<string, string>>) => {
    const bundles = [
      await makeBundle(statementOf(files).payload, { ...alice.signer, certificates: [own.der] }),
      await makeBundle(statementOf(CONTENT).payload, alice.signer),
      await makeBundle(statementOf(CONTENT).payload, bob.signer),
    ];
    const signatures = bundles.map((bytes, index) => ({ name: `signature ${index}`, bytes }));
    return judgeByPolicy(policy, { model: "m@1", signatures, statements: [], atMs: 0, sealed: true }).verdict;
  };
  assert.deepEqual([await judge(RENAMED), await judge(CONTENT)], ["refused", "accepted"]);
});

test("who seals need not be one of those that the policy counts, when it is the model that they signed", async (t) => {
  const check = await startCheck(t);
  assert.deepEqual(check.accept("m@1", await partsOf(CONTENT)), ["alice", "bob"]);
  assert.deepEqual(check.accept("m@1", await partsOf(CONTENT, { sealer: malloryKey })), ["mallory", "alice", "bob"]);
  assert.deepEqual(check.accept("m@1", await partsOf(RENAMED, { sealer: alice.signer, others: RENAMED })), [
    "alice",
    "bob",
  ]);
});
