/** Attestation as a service, over the wire: results that others can verify, keys that change, reference values that end. */
import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { type ReferenceValues, signReferenceValues, verifyEar } from "../../src/attestation/index.ts";
import { ModelkeepError, toBase64Url, utf8 } from "../../src/base/index.ts";
import * as contract from "../../src/contract/index.ts";
import { loadEcSigner } from "../../src/signing/index.ts";
import { writeDomain, writeQuote } from "../attestation/support/dcap.ts";
import { ecKey } from "../loader/support.ts";
import { ANCHORS, collateralFiles, devicesDocument, makeMachine, RIMS } from "../release/support/machine.ts";
import { serveModel } from "../release/support/serve.ts";

const REPORT_DATA = new Uint8Array(64).fill(5);
const NONCE = new Uint8Array(32).fill(6);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const quoteFor = (reportData = REPORT_DATA) => toBase64Url(writeQuote({ body: writeDomain({ reportData }) }));
const failsWith = (code: string) => (error: unknown) => error instanceof ModelkeepError && error.code === code;
const collateral = () => collateralFiles(Date.now());
const GPUS = "tdx: {}\nnvidia:\n  gpu_count: 2\n  switch_count: 1\n  require_ocsp: false\n";

type Served = Awaited<ReturnType<typeof serveModel>>;
type Asking = Partial<ReturnType<typeof contract.appraiseRequest.parse>>;

const ask = ({ admin }: Served, body: Asking = {}) =>
  admin.call(contract.appraiseEvidence, {
    body: { kind: "tdx", evidence: quoteFor(), report_data: hex(REPORT_DATA), ...body },
  });

const keysOf = async ({ url }: Served) =>
  contract.earKeys.parse(await (await fetch(`${url}/api/v1/attestations/keys`)).json()).keys;

/** As a stranger with a JOSE library does it: nothing of the project's own reader. */
async function verifyElsewhere(served: Served, token: string) {
  const keys = createRemoteJWKSet(new URL(`${served.url}/api/v1/attestations/keys`));
  const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer: served.url, algorithms: ["ES256"] });
  assert.equal(protectedHeader.typ, "JWT");
  return payload as { eat_profile: string; eat_nonce: string; iss: string; iat: number; exp: number } & {
    submods: Record<string, Record<string, unknown>>;
  };
}

test("a result is signed by a published key, and says what was found", async (t) => {
  const served = await serveModel(t, { profile: "tdx: {}\n", collateral: collateral(), anchors: ANCHORS });
  const reply = await ask(served);
  assert.deepEqual([reply.verdict, reply.tcb_status], ["accepted", "UpToDate"], JSON.stringify(reply.rules));
  const claims = await verifyElsewhere(served, reply.ear);
  assert.equal(claims.eat_profile, "tag:github.com,2023:veraison/ear");
  assert.equal(claims.eat_nonce, toBase64Url(REPORT_DATA));
  assert.equal(claims.iss, served.url);
  assert.equal(claims.exp - claims.iat, 300);
  const other = await ask(served, { report_data: "00".repeat(64), ear_profile: "trustee", life_seconds: 60 });
  assert.equal(other.verdict, "refused");
  assert.ok(other.rules.some(({ id, result }) => id === "dcap.report-data" && result === "failed"));
  const refused = await verifyElsewhere(served, other.ear);
  assert.deepEqual([refused.exp - refused.iat, refused.submods.cpu0?.["ear.status"]], [60, "contraindicated"]);
  assert.equal(refused.eat_profile, "tag:github.com,2024:confidential-containers/Trustee");
  const { entries } = await served.admin.call(contract.listAudit, {
    body: { action: "attestation.appraise" } as never,
  });
  assert.deepEqual(
    (entries as unknown as { outcome: string }[]).map(({ outcome }) => outcome),
    ["refused", "allowed"],
  );
});

test("a machine with devices has one result: a processor beside a refused device is not called good", async (t) => {
  const served = await serveModel(t, { profile: GPUS, collateral: collateral(), anchors: ANCHORS });
  const machine = makeMachine();
  const whole = { devices: toBase64Url(devicesDocument(machine, NONCE)), device_nonce: hex(NONCE) };
  const good = await ask(served, whole);
  assert.equal(good.verdict, "accepted", JSON.stringify(good.rules.filter(({ result }) => result === "failed")));
  assert.deepEqual(Object.keys((await verifyElsewhere(served, good.ear)).submods), ["cpu0", "gpu0", "gpu1", "gpu2"]);
  const cases: readonly (readonly [string, Asking])[] = [
    ["nvidia.devices.missing", {}],
    ["nvidia.devices.nonce", { ...whole, device_nonce: "00".repeat(32) }],
    ["nvidia.devices.unasked", { devices: whole.devices }],
    ["nvidia.devices.gpu-count", { ...whole, devices: toBase64Url(devicesDocument(makeMachine(1, 1), NONCE)) }],
    ["nvidia.evidence.format", { ...whole, devices: toBase64Url(utf8("{}")) }],
  ];
  for (const [rule, body] of cases) {
    const reply = await ask(served, body);
    assert.equal(reply.verdict, "refused", rule);
    assert.ok(
      reply.rules.some(({ id, result }) => id === rule && result === "failed"),
      rule,
    );
    const { submods } = await verifyElsewhere(served, reply.ear);
    assert.equal(submods.cpu0?.["ear.status"], "contraindicated", rule);
  }
});

test("what is no evidence of a machine gets no good result: a manifest, an answer of others, a nonce nobody signed", async (t) => {
  const served = await serveModel(t, { profile: GPUS, collateral: collateral(), anchors: ANCHORS });
  const failed = async (body: Asking) => {
    const reply = await served.admin.call(contract.appraiseEvidence, {
      body: { kind: "nvidia", evidence: "A", ...body },
    });
    const { submods } = await verifyElsewhere(served, reply.ear);
    assert.ok(
      Object.values(submods).every((one) => one["ear.status"] === "contraindicated") || reply.verdict === "accepted",
    );
    return reply.rules.filter(({ result }) => result === "failed").map(({ id }) => id);
  };
  const [manifest] = RIMS;
  assert.ok(manifest);
  assert.deepEqual(await failed({ evidence: toBase64Url(manifest) }), ["evidence.form"], "everybody has manifests");
  const answer = toBase64Url(utf8(JSON.stringify([["JWT", "a.b.c"], { "GPU-0": "a.b.c" }])));
  assert.deepEqual(await failed({ evidence: answer }), ["evidence.form"]);
  const evidence = toBase64Url(devicesDocument(makeMachine(), NONCE));
  assert.deepEqual(await failed({ evidence, device_nonce: hex(NONCE) }), []);
  assert.ok((await failed({ evidence, device_nonce: "00".repeat(32) })).includes("nvidia.report.nonce"));
  const good = await served.admin.call(contract.appraiseEvidence, {
    body: { kind: "nvidia", evidence, device_nonce: hex(NONCE) },
  });
  assert.equal((await verifyElsewhere(served, good.ear)).eat_nonce, toBase64Url(NONCE), "what was signed, and no more");
  const invalid: readonly Asking[] = [
    { kind: "nvidia", evidence, devices: evidence, device_nonce: hex(NONCE) },
    { kind: "nvidia", evidence, report_data: hex(REPORT_DATA) },
    { kind: "tdx", evidence: quoteFor(), device_nonce: hex(NONCE) },
  ];
  for (const body of invalid)
    await assert.rejects(
      served.admin.call(contract.appraiseEvidence, { body: body as never }),
      failsWith("INVALID_BODY"),
    );
});

test("keys change: new tokens under the new one, old tokens verify until they end, on every replica alike", async (t) => {
  const served = await serveModel(t, { profile: "tdx: {}\n", collateral: collateral(), anchors: ANCHORS });
  const before = await ask(served);
  const [first] = await keysOf(served);
  const { keys } = await served.admin.call(contract.rotateEarKey, { body: {} });
  assert.equal(keys.length, 2);
  assert.equal(keys[1]?.kid, first?.kid);
  const after = await ask(served);
  const kidOf = (token: string) => JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid;
  assert.deepEqual([kidOf(before.ear), kidOf(after.ear)], [first?.kid, keys[0]?.kid]);
  await verifyElsewhere(served, before.ear);
  await verifyElsewhere(served, after.ear);
  const trusted = keys.map((key) => createPublicKey({ key, format: "jwk" }));
  const needs = { issuer: served.url, now: Date.now(), nonce: REPORT_DATA };
  assert.ok(verifyEar(before.ear, { ...needs, keys: trusted }));
  assert.throws(() => verifyEar(before.ear, { ...needs, keys: trusted.slice(0, 1) }), failsWith("EAR_INVALID"));
  for (let count = 2; count < 32; count++) await served.admin.call(contract.rotateEarKey, { body: {} });
  await assert.rejects(served.admin.call(contract.rotateEarKey, { body: {} }), failsWith("EAR_KEYS_LIMIT"));
  assert.equal((await keysOf(served)).length, 32);
  assert.equal((await ask(served)).verdict, "accepted", "a refused change leaves the key in use");
});

test("who may ask and who may change keys is for policy; keys are for everybody", async (t) => {
  const served = await serveModel(t, { profile: "tdx: {}\n", collateral: collateral(), anchors: ANCHORS });
  const { workload } = served;
  const body = { kind: "tdx" as const, evidence: quoteFor() };
  await assert.rejects(workload.call(contract.appraiseEvidence, { body }), failsWith("FORBIDDEN"));
  await assert.rejects(workload.call(contract.rotateEarKey, { body: {} }), failsWith("FORBIDDEN"));
  assert.equal((await keysOf(served)).length, 1);
  const without = await serveModel(t);
  await assert.rejects(ask(without), failsWith("NO_PROFILE"));
});

test("the private key is nowhere on the server's disk", async (t) => {
  const served = await serveModel(t, { profile: "tdx: {}\n", collateral: collateral(), anchors: ANCHORS });
  await ask(served);
  const [jwk] = await keysOf(served);
  const point = Buffer.concat([jwk?.x ?? "", jwk?.y ?? ""].map((text) => Buffer.from(text, "base64url")));
  const files = globSync(join(served.folder, "**", "*db*")).filter((path) => statSync(path).isFile());
  const disk = Buffer.concat(files.map((path) => readFileSync(path)));
  assert.equal(disk.includes(point), false, "not even the public half in the clear");
  assert.ok(disk.includes(jwk?.kid ?? "none"), "the right files were searched");
});

interface Signing {
  readonly text: (values: Partial<ReferenceValues>) => Promise<string>;
  readonly flags: Readonly<Record<string, unknown>>;
  readonly file: string;
}

function signing(folder: string): Signing {
  const { privatePem, publicPem } = ecKey();
  mkdirSync(folder, { recursive: true });
  const [file, key] = [join(folder, "values.json"), join(folder, "builder.pub")];
  writeFileSync(key, publicPem);
  return {
    file,
    flags: { attestation_references: [file], attestation_reference_keys: [key] },
    text: (values) =>
      signReferenceValues(
        {
          ...{ version: 1, name: "image", issued_at: iso(-60_000), expires_at: iso(3_600_000) },
          ...values,
        },
        loadEcSigner(privatePem),
      ),
  };
}

const iso = (fromNow: number) => new Date(Date.now() + fromNow).toISOString();
const MR_TD = hex(new Uint8Array(48).fill(0xa0));

test("signed reference values decide in the server; those that have ended accept nothing more", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-reference-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const { text, flags, file } = signing(folder);
  const start = async (values: Partial<ReferenceValues>) => {
    writeFileSync(file, await text(values));
    return serveModel(t, { profile: "tdx: {}\n", collateral: collateral(), anchors: ANCHORS, flags });
  };
  assert.equal((await ask(await start({ tdx: { mr_td: [MR_TD] } }))).verdict, "accepted");
  const failed = (reply: contract.AppraiseReply) =>
    reply.rules.filter(({ result }) => result === "failed").map(({ id }) => id);
  assert.deepEqual(failed(await ask(await start({ tdx: { mr_td: ["00".repeat(48)] } }))), ["tdx.mr-td"]);
  const dates = { issued_at: iso(-7_200_000), expires_at: iso(-3_600_000) };
  const ended = await start({ ...dates, tdx: { mr_td: [MR_TD] } });
  assert.deepEqual(failed(await ask(ended)), ["tdx.mr-td"], "the profile alone would not look at it");
});
