/** The signer policy attacked: patterns that say more than they should, one signer counted twice, models swapped under a root. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { utf8 } from "../../src/base/index.ts";
import { OID, toPem } from "../../src/codec/index.ts";
import {
  judgeByPolicy,
  loadEcSigner,
  loadTrustedKey,
  type ModelSigner,
  makeBundle,
  makeProvenance,
  type PolicyVerdict,
  readSignerPolicy,
  type SignerPolicy,
  signModel,
  withCertificates,
} from "../../src/signing/index.ts";
import { matchesPattern } from "../../src/signing/policy-pattern.ts";
import { codeOf, makePair, modelkeep, type Pair, temporaryFolder, writeModel } from "../sealing/support.ts";
import { makeAuthority, makeCertificate, name, type Party } from "../support/der-writer.ts";
import { ABSENT, vectors } from "./oms-support.ts";

const AT = Date.UTC(2026, 5, 1);
const [a, b, c] = [makePair(), makePair("P-384"), makePair()] as const;
const files = { "weights.bin": "0123456789", "config.json": "{}" };
const root = writeModel(files);
const bundleBy = async ({ signer }: Pick<Pair, "signer">) => (await signModel({ root, signer })).bundle;
const bundles = { a: await bundleBy(a), b: await bundleBy(b), c: await bundleBy(c) };

async function policyOf(text: string, more: Record<string, string | Uint8Array> = {}): Promise<SignerPolicy> {
  const folder = temporaryFolder();
  for (const [file, pair] of Object.entries({ a, b, c })) writeFileSync(join(folder, `${file}.pub`), pair.publicPem);
  for (const [file, content] of Object.entries(more)) writeFileSync(join(folder, file), content);
  writeFileSync(join(folder, "policy.yaml"), text);
  return readSignerPolicy(join(folder, "policy.yaml"));
}

const SIGNERS = "version: 1\nsigners:\n  a: {key: a.pub}\n  b: {key: b.pub}\n  c: {key: c.pub}\n";
const twoOf = await policyOf(`${SIGNERS}rules:\n  - {models: ["m@*"], signers: [a, b], threshold: 2}\n`);

function judge(policy: SignerPolicy, signatures: readonly Uint8Array[], model = "m@1"): PolicyVerdict {
  const named = signatures.map((bytes, index) => ({ name: `${index}.sig`, bytes }));
  return judgeByPolicy(policy, { model, signatures: named, statements: [], atMs: AT });
}

/** The same meaning by a regular expression, which here may be one: the pattern is ours. */
function slowly(pattern: string, model: string): boolean {
  const escaped = pattern.replace(/[.+]/g, "\\$&").replaceAll("*", "[^@]*");
  return new RegExp(`^${escaped}$`, "s").test(model);
}

test("a pattern is the whole name and the whole version, and a star stays in its half", () => {
  const half = fc.string({ unit: fc.constantFrom("a", "b", ".", "+", "*"), minLength: 1, maxLength: 8 });
  const text = fc.string({ unit: fc.constantFrom("a", "b", ".", "+"), minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(half, half, text, text, (p, q, x, y) => {
      assert.equal(matchesPattern(`${p}@${q}`, `${x}@${y}`), slowly(`${p}@${q}`, `${x}@${y}`));
    }),
    { numRuns: 2_000 },
  );
  for (const [pattern, model] of [
    ["m*@1", "m@2@1"],
    ["*@*", "m"],
    ["*@*", "a@b@c"],
    ["M@1", "m@1"],
    ["m.1@1", "mx1@1"],
    ["ab*ba@1", "aba@1"],
  ] as const)
    assert.equal(matchesPattern(pattern, model), false, `${pattern} ${model}`);
  const long = `${"*a".repeat(49)}*b@*`;
  const started = process.hrtime.bigint();
  assert.equal(matchesPattern(long, `${"a".repeat(100)}@1`), false);
  assert.ok(process.hrtime.bigint() - started < 1_000_000_000n, "a pattern took its time");
});

test("what is wrong in a policy is told with its line", async () => {
  const cases: [string, string, RegExp][] = [
    [`${SIGNERS}rules: []\n`, "empty", /line 6: rules/],
    [`${SIGNERS}rules:\n  - {models: ["m"], signers: [a]}\n`, "no version", /line 7: rules\.0\.models\.0/],
    [`${SIGNERS}rules:\n  - {models: ["m[0]@1"], signers: [a]}\n`, "class", /line 7: rules\.0\.models\.0/],
    [`${SIGNERS}rules:\n  - {models: ["m?@1"], signers: [a]}\n`, "question mark", /line 7/],
    [`${SIGNERS}rules:\n  - models: ["m@1"]\n    signers: [x]\n`, "unknown signer", /line 8: rules\.0\.signers/],
    [`${SIGNERS}rules:\n  - {models: ["m@1"], signers: [a, a], threshold: 2}\n`, "one twice", /threshold/],
    [`${SIGNERS}rules:\n  - {models: ["m@1"], signers: [a], threshold: 0}\n`, "nobody", /threshold/],
    [`${SIGNERS}rules:\n  - {models: ["m@1"], signers: [], threshold: 1}\n`, "no signers", /signers/],
    [`${SIGNERS}rules:\n  - {models: ["m@1"], signers: [a], require: [sbom]}\n`, "type", /require\.0/],
    [`${SIGNERS}rules:\n  - {models: ["m@1"], signers: [a], treshold: 2}\n`, "misspelt", /line 7.*treshold/],
    ["version: 1\nsigners:\n  a: {ca: ca.pem}\nrules: [{models: ['m@1'], signers: [a]}]\n", "no subject", /line 3/],
    ["version: 1\nsigners:\n  a: {identity: x}\nrules: [{models: ['m@1'], signers: [a]}]\n", "no issuer", /line 3/],
    ["version: 1\nsigners: &x {a: {key: a.pub}}\nrules: *x\n", "alias", /./],
    ["version: 2\nsigners: {a: {key: a.pub}}\nrules: [{models: ['m@1'], signers: [a]}]\n", "version", /line 1/],
    ["version: 1\nversion: 1\n", "key twice", /line 2/],
    ["\u0000", "no YAML", /./],
    [
      "version: 1\nsigners: {a: {key: a.pub}, b: {key: a.pub}}\nrules: [{models: ['m@1'], signers: [a, b], threshold: 2}]",
      "one key, two names",
      /one signer/,
    ],
  ];
  for (const [text, what, message] of cases) {
    assert.equal(await codeOf(() => policyOf(text)), "SIGNER_POLICY_INVALID", what);
    await assert.rejects(policyOf(text), { message }, what);
  }
  assert.equal(await codeOf(() => policyOf(SIGNERS.replace("a.pub", "none.pub"))), "SIGNER_POLICY_INVALID");
  const absent = `${SIGNERS.replace("a.pub", "none.pub")}rules: [{models: ["m@1"], signers: [a]}]`;
  assert.equal(await codeOf(() => policyOf(absent)), "FILE_NOT_FOUND");
});

test("any bytes are a policy or a refusal by code", async () => {
  const folder = temporaryFolder();
  const file = join(folder, "p");
  writeFileSync(join(folder, "a.pub"), a.publicPem);
  const good = "version: 1\nsigners: {a: {key: a.pub}}\nrules: [{models: ['m@1'], signers: [a]}]\n";
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length), fc.nat(6), fc.string({ maxLength: 6 }), async (at, cut, insert) => {
      writeFileSync(file, good.slice(0, at) + insert + good.slice(at + cut));
      const code = await codeOf(() => readSignerPolicy(file));
      assert.ok([undefined, "SIGNER_POLICY_INVALID", "FILE_NOT_FOUND", "FILE_UNREADABLE"].includes(code), code);
    }),
    { numRuns: 300 },
  );
});

test("the first rule that matches decides, and without a rule nothing is accepted", async () => {
  const policy = await policyOf(
    `${SIGNERS}rules:
  - {models: ["prod-*@*"], signers: [a, b], threshold: 2}
  - {models: ["*@*"], signers: [c]}
`,
  );
  assert.equal(judge(policy, [bundles.c], "prod-1@1").verdict, "refused");
  assert.equal(judge(policy, [bundles.a, bundles.b], "prod-1@1").verdict, "accepted");
  assert.equal(judge(policy, [bundles.c], "test@1").verdict, "accepted");
  const nothing = judge(twoOf, [bundles.a, bundles.b], "other@1");
  assert.deepEqual([nothing.verdict, nothing.rules.map(({ id }) => id)], ["refused", ["rule"]]);
});

test("signers are counted, not signatures: again and again by one is one", async () => {
  const again = await bundleBy(a);
  for (const signatures of [[bundles.a], [bundles.a, again], [bundles.a, bundles.c], [bundles.c, bundles.c]])
    assert.equal(judge(twoOf, signatures).verdict, "refused");
  for (const signatures of [
    [bundles.a, bundles.b],
    [bundles.b, bundles.a],
    [bundles.c, bundles.b, again, bundles.a],
  ])
    assert.deepEqual(
      [judge(twoOf, signatures).verdict, judge(twoOf, signatures).base !== undefined],
      ["accepted", true],
    );
});

const authority = makeAuthority({ subject: "Root" });
const certify = (cn: string, keys?: Party): Party =>
  makeCertificate({
    subject: name(["2.5.4.3", cn]),
    issuer: authority,
    ca: false,
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [OID.codeSigning],
    ...(keys ? { keys } : {}),
  });
const signerOf = ({ privateKey }: Party): ModelSigner =>
  loadEcSigner(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }).toString()));

test("a subject counts exactly and under its authority; one key is one signer whatever it is called", async () => {
  const release = certify("Release");
  const signer = signerOf(release);
  const certificate = toPem("CERTIFICATE", release.der);
  const certified = withCertificates(signer, { certificate }, AT);
  const signed = (await signModel({ root, signer: certified })).bundle;
  const bare = (await signModel({ root, signer })).bundle;
  const more = { "ca.pem": toPem("CERTIFICATE", authority.der), "r.pub": signer.publicKeyPem };
  const rule = (text: string, threshold = 1, signers = "[x]") =>
    policyOf(
      `version: 1\nsigners: ${text}\nrules: [{models: ["m@1"], signers: ${signers}, threshold: ${threshold}}]`,
      more,
    );
  const exact = await rule("{x: {ca: ca.pem, subject: CN=Release}}");
  assert.deepEqual(judge(exact, [signed]).signers, ["x"]);
  assert.equal(judge(exact, [bare]).verdict, "refused");
  for (const subject of ["CN=release", "CN=Releas", "CN=Release ", "Release"])
    assert.equal(judge(await rule(`{x: {ca: ca.pem, subject: "${subject}"}}`), [signed]).verdict, "refused", subject);
  const both = await rule("{x: {ca: ca.pem, subject: CN=Release}, y: {key: r.pub}}", 2, "[x, y]");
  const verdict = judge(both, [signed, bare]);
  assert.deepEqual([verdict.verdict, verdict.signers], ["refused", ["x", "y"]]);
  const late = { model: "m@1", signatures: [{ name: "s", bytes: signed }], statements: [], atMs: Date.UTC(2099, 1) };
  assert.equal(judgeByPolicy(exact, late).verdict, "refused");
});

test("a key that is named by its id counts only when the key itself is there", async () => {
  const policy = await policyOf(
    `version: 1\nsigners: {a: {key_id: ${a.signer.keyId}}}\nrules: [{models: ["m@1"], signers: [a]}]`,
  );
  const ask = (...pems: string[]) =>
    judgeByPolicy(policy, {
      model: "m@1",
      signatures: [{ name: "s", bytes: bundles.a }],
      statements: [],
      atMs: AT,
      keys: pems.map(loadTrustedKey),
    }).verdict;
  assert.deepEqual([ask(), ask(b.publicPem), ask(a.publicPem)], ["refused", "refused", "accepted"]);
});

test("a second signature over the same digests under other names, or with more left out, does not count", async () => {
  const swapped = writeModel({ "config.json": "0123456789", "weights.bin": "{}" });
  const honest = await signModel({ root, signer: a.signer });
  const other = await signModel({ root: swapped, signer: b.signer });
  assert.notEqual(honest.rootDigest, other.rootDigest);
  const payload = payloadOf(honest.bundle);
  const [first, second] = payload.predicate.resources;
  assert.ok(first && second);
  const renamed = structuredClone(payload);
  renamed.predicate.resources = [
    { ...first, name: second.name },
    { ...second, name: first.name },
  ];
  const forged = await makeBundle(utf8(JSON.stringify(renamed)), b.signer);
  assert.equal(judge(twoOf, [honest.bundle, forged]).verdict, "refused");
  const lazy = await signModel({ root, signer: a.signer, ignore: ["hidden.py"] });
  assert.equal(lazy.rootDigest, honest.rootDigest);
  assert.equal(judge(twoOf, [lazy.bundle, bundles.b]).verdict, "refused");
  assert.equal(judge(twoOf, [bundles.b, lazy.bundle]).verdict, "accepted");
  const control = await makeBundle(utf8(JSON.stringify(payload)), b.signer);
  assert.equal(judge(twoOf, [honest.bundle, control]).verdict, "accepted");
});

interface Payload {
  predicate: { resources: { name: string; digest: string }[] };
}

function payloadOf(bundle: Uint8Array): Payload {
  const { dsseEnvelope } = JSON.parse(Buffer.from(bundle).toString()) as { dsseEnvelope: { payload: string } };
  return JSON.parse(Buffer.from(dsseEnvelope.payload, "base64").toString()) as Payload;
}

test("what cannot be read does not count; nothing but that is no verdict at all", () => {
  const nonsense = utf8("nonsense");
  assert.equal(judge(twoOf, [nonsense, bundles.a, bundles.b]).verdict, "accepted");
  const half = judge(twoOf, [bundles.a, nonsense]);
  assert.deepEqual(
    [half.verdict, half.rules.find(({ result }) => result === "unchecked")?.id],
    ["refused", "signature"],
  );
  assert.throws(() => judge(twoOf, [nonsense]));
});

test("a keyless identity counts exactly and with its issuer", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const bundle = readFileSync(join(vectors, "historical/v1.1.0-sigstore/model.sig"));
  const [identity, issuer] = ["stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2"];
  for (const [who, by, verdict] of [
    [identity, issuer, "accepted"],
    [identity, "https://accounts.google.com", "refused"],
    ["stefanb@us.ibm.co", issuer, "refused"],
    [".*", issuer, "refused"],
  ]) {
    const policy = await policyOf(
      `version: 1\nsigners: {s: {identity: "${who}", issuer: "${by}"}}\nrules: [{models: ["m@1"], signers: [s]}]`,
    );
    assert.equal(judge(policy, [bundle]).verdict, verdict, `${who} ${by}`);
  }
});

test("on the command line: sign, add, verify by a policy", async () => {
  const folder = temporaryFolder();
  const model = writeModel(files, join(folder, "m"));
  for (const [file, pair] of Object.entries({ a, b, c })) {
    writeFileSync(join(folder, `${file}.pem`), pair.privatePem, { mode: 0o600 });
    writeFileSync(join(folder, `${file}.pub`), pair.publicPem);
  }
  const policy = `${SIGNERS}rules:\n  - {models: ["m@*"], signers: [a, b], threshold: 2}\n`;
  writeFileSync(join(folder, "policy.yaml"), policy);
  const run = (...words: string[]) => modelkeep(words, folder);
  const verify = (...words: string[]) => run("verify", "m", "--policy", "policy.yaml", ...words);
  assert.equal((await run("sign", "m", "--key", "a.pem", "--add")).exit, 2);
  assert.equal((await run("sign", "m", "--key", "a.pem")).exit, 0);
  assert.equal((await verify()).exit, 4);
  assert.equal((await run("sign", "m", "--key", "b.pem", "--add")).exit, 0);
  assert.equal((await verify()).exit, 0);
  assert.equal((await verify("--model", "other@1")).exit, 4);
  assert.equal((await verify("--model", "m")).exit, 2);
  assert.equal((await verify("--ca", "a.pub")).exit, 2);
  assert.equal((await run("verify", "m", "--public-key", "b.pub")).exit, 4);
  const told = JSON.parse((await verify("--json")).stdout) as { verdict: string; policy: { signers: string[] } };
  assert.deepEqual([told.verdict, told.policy.signers], ["verified", ["a", "b"]]);
  writeFileSync(join(model, "model.sig.d/evil.py"), "import os");
  assert.match((await verify()).stdout, /^unsigned: model\.sig\.d\/evil\.py/m);
  writeFileSync(join(model, "weights.bin"), "9876543210");
  assert.equal((await verify()).exit, 4);
  assert.equal((await run("sign", "m", "--key", "c.pem", "--add")).exit, 4);
});

test("one of two signers cannot leave out a folder that only looks like a signature", async () => {
  const folder = temporaryFolder();
  const model = writeModel(files, join(folder, "m"));
  for (const [file, pair] of Object.entries({ a, b, c })) {
    writeFileSync(join(folder, `${file}.pem`), pair.privatePem, { mode: 0o600 });
    writeFileSync(join(folder, `${file}.pub`), pair.publicPem);
  }
  writeFileSync(
    join(folder, "policy.yaml"),
    `${SIGNERS}rules:\n  - {models: ["m@*"], signers: [a, b], threshold: 2}\n`,
  );
  const run = (...words: string[]) => modelkeep(words, folder);
  for (const left of ["plugin.sig", "model.sig.d/plugin.json"]) {
    assert.equal((await run("sign", "m", "--key", "a.pem", "--ignore", left)).exit, 0);
    assert.equal((await run("sign", "m", "--key", "b.pem", "--add")).exit, 0);
    writeModel({ "__init__.py": "import os" }, join(model, left));
    const { exit, stdout } = await run("verify", "m", "--policy", "policy.yaml");
    assert.equal(exit, 4, left);
    assert.match(stdout, /b signed another model/);
    rmSync(join(model, left), { recursive: true });
  }
});

test("the policy and the descriptor that the guide shows are ones", async () => {
  const page = readFileSync(new URL("../../docs/guides/signing.md", import.meta.url), "utf8");
  const [descriptor, policy] = [...page.matchAll(/^```yml\n(.*?)^```/gms)].map(([, body]) => body ?? "");
  assert.ok(descriptor && policy);
  assert.ok(makeProvenance(utf8(descriptor), {}));
  const more = {
    "reviewer.pub": a.publicPem,
    "reviewer-old.pub": b.publicPem,
    "release-ca.pem": toPem("CERTIFICATE", authority.der),
  };
  const { rules } = await policyOf(policy, more);
  assert.deepEqual(
    rules.map(({ threshold, signers }) => [threshold, signers.length]),
    [
      [2, 3],
      [1, 1],
    ],
  );
});
