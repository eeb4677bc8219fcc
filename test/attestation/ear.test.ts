/** Results as tokens: bound to their key, issuer, time and nonce; a refusal is never better than contraindicated. */
import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { createLocalJWKSet, jwtVerify } from "jose";
import { statusOf, vectorOf } from "../../src/attestation/ear/vector.ts";
import { EAR_PROFILES, type EarInput, earKeySet, makeEar, publicJwk, verifyEar } from "../../src/attestation/index.ts";
import { Rules, type Verdict } from "../../src/attestation/verdict.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import { runCli } from "./support/cli.ts";
import { bytesOf, hasVectors, ABSENT as NO_VECTORS } from "./support/dcap-vectors.ts";

const NOW = Date.UTC(2026, 5, 1);
const NONCE = new Uint8Array(32).fill(7);

function verdictOf(...ids: readonly string[]): Verdict<unknown> {
  const rules = new Rules();
  for (const id of ["snp.report.signature", "snp.policy.debug", "snp.measurement", "snp.vek.chip"])
    if (ids.includes(id)) rules.fail(id, "failed");
    else rules.pass(id, "passed");
  for (const id of ids.filter((one) => one.startsWith("-"))) rules.skip(id.slice(1), "skipped");
  const claims = { policy: 2n ** 63n, reportData: NONCE };
  return { verdict: rules.verdict, rules: rules.list, advisories: [], claims };
}

function makeKey(curve = "P-256") {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: curve });
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" }).toString();
  const signer = { publicKeyPem, sign: async (bytes: Uint8Array) => new Uint8Array(sign("sha256", bytes, privateKey)) };
  return { signer, publicKey, privateKey };
}

const input = (change: Partial<EarInput> = {}): EarInput => ({
  submodules: { cpu0: { tee: "snp", verdict: verdictOf() } },
  issuer: "https://keep.example",
  version: "1.0.0",
  policyId: "default",
  nonce: NONCE,
  now: NOW,
  ...change,
});

const refused = (error: unknown) => error instanceof ModelkeepError && error.code === "EAR_INVALID";
const needs = (key: KeyObject) => ({ keys: [key], issuer: "https://keep.example", now: NOW + 1000, nonce: NONCE });

test("a token holds status, vector, profile and claims; another implementation verifies it", async () => {
  const { signer, publicKey } = makeKey();
  const token = await makeEar(input(), signer);
  const { submodules, claims } = verifyEar(token, needs(publicKey));
  assert.deepEqual(submodules.cpu0, {
    status: "affirming",
    vector: { "instance-identity": 2, configuration: 2, executables: 3, hardware: 2 },
  });
  assert.equal(claims.eat_profile, "tag:github.com,2023:veraison/ear");
  const evidence = JSON.stringify(claims);
  assert.ok(evidence.includes(`"policy":"${2n ** 63n}"`) && evidence.includes("07".repeat(32)));
  const trustee = await makeEar(input({ profile: "trustee" }), signer);
  assert.equal(verifyEar(trustee, needs(publicKey)).claims.eat_profile, EAR_PROFILES.trustee);
  const set = createLocalJWKSet(JSON.parse(JSON.stringify(earKeySet([publicKey]))));
  const { payload, protectedHeader } = await jwtVerify(token, set, { currentDate: new Date(NOW + 1000) });
  assert.equal(payload.iss, "https://keep.example");
  assert.equal(protectedHeader.kid, publicJwk(publicKey).kid);
});

test("a hundred signatures, among them those with short numbers, are 64 bytes", async () => {
  const { signer, publicKey } = makeKey();
  for (let i = 0; i < 100; i++) {
    const token = await makeEar(input({ policyId: `p${i}` }), signer);
    assert.equal(Buffer.from(token.split(".")[2] ?? "", "base64url").length, 64);
    verifyEar(token, needs(publicKey));
  }
});

test("what failed decides the status", () => {
  const status = (...ids: readonly string[]) => statusOf(vectorOf(verdictOf(...ids)), verdictOf(...ids));
  assert.equal(status(), "affirming");
  for (const id of ["snp.report.signature", "snp.policy.debug", "snp.measurement", "snp.vek.chip"])
    assert.equal(status(id), "contraindicated", id);
  assert.equal(vectorOf(verdictOf("snp.report.signature")).hardware, 97);
  const rules = new Rules();
  rules.pass("snp.report.signature", "passed");
  rules.skip("snp.measurement", "nobody asked");
  const open = { verdict: rules.verdict, rules: rules.list, advisories: [] };
  assert.equal(vectorOf(open).executables, 33);
  assert.equal(statusOf(vectorOf(open), open), "warning");
  const nothing = { verdict: "refused", rules: [], advisories: [] } as const;
  assert.equal(statusOf(vectorOf(nothing), nothing), "contraindicated");
});

test("names and words about an image approve nothing that runs; only what was measured does", () => {
  const graded = (passed: readonly string[], open: readonly string[] = []) => {
    const rules = new Rules();
    for (const id of passed) rules.pass(id, "passed");
    for (const id of open) rules.skip(id, "nobody asked");
    return vectorOf({ verdict: rules.verdict, rules: rules.list, advisories: [] }).executables;
  };
  assert.equal(graded(["snp.host-data", "snp.image-id", "snp.family-id"], ["snp.measurement"]), 33);
  assert.equal(graded(["tdx.rtmr1", "tdx.rtmr2", "tdx.mr-config-id"], ["tdx.mr-td"]), 33);
  assert.equal(graded(["azure.pcr.0", "azure.pcr.7"], ["snp.measurement"]), 33);
  assert.equal(
    graded(["nvidia.rim.measurements"], ["snp.measurement"]),
    33,
    "the devices' programs are not the guest's",
  );
  assert.equal(graded(["nvidia.rim.measurements"]), 3);
  for (const id of ["snp.measurement", "tdx.mr-td", "sgx.identity"]) assert.equal(graded([id]), 3, id);
});

test("evidence of devices that answers another exchange is found in the token", async () => {
  const { signer, publicKey } = makeKey();
  const device = (nonce?: Uint8Array): EarInput["submodules"][string] => ({
    tee: "nvidia",
    verdict: { ...verdictOf(), claims: nonce ? { kind: "gpu", nonce: Buffer.from(nonce).toString("hex") } : undefined },
  });
  const deviceNonce = new Uint8Array(32).fill(9);
  const cpu0 = { tee: "snp", verdict: verdictOf() };
  const ask = async (submodules: EarInput["submodules"], wanted: Uint8Array = deviceNonce) =>
    verifyEar(await makeEar(input({ submodules }), signer), { ...needs(publicKey), deviceNonce: wanted });
  await ask({ cpu0, gpu0: device(deviceNonce), gpu1: device(deviceNonce) });
  await assert.rejects(ask({ cpu0, gpu0: device(deviceNonce), gpu1: device(NONCE) }), refused);
  await assert.rejects(ask({ cpu0, gpu0: device() }), refused);
  await assert.rejects(ask({ cpu0 }), refused, "no device at all");
  await assert.rejects(ask({ cpu0, gpu0: device(deviceNonce) }, NONCE), refused);
});

test("trap 28: only pinned keys count, whatever the header says; issuer, time and nonce are checked", async () => {
  const { signer, publicKey } = makeKey();
  const other = makeKey();
  const token = await makeEar(input(), signer);
  const good = needs(publicKey);
  verifyEar(token, { ...good, keys: [other.publicKey, publicKey] });
  const bad = (change: object, text = token) => assert.throws(() => verifyEar(text, { ...good, ...change }), refused);
  bad({ keys: [other.publicKey] });
  bad({ keys: [] });
  bad({ issuer: "https://else.example" });
  bad({ now: NOW - 1000 });
  bad({ now: NOW + 300_000 });
  bad({ nonce: new Uint8Array(32) });
  const [head = "", body = "", mark = ""] = token.split(".");
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const kid = publicJwk(publicKey).kid;
  bad({}, `${encode({ alg: "none", typ: "JWT", kid })}.${body}.`);
  bad({}, `${encode({ alg: "HS256", typ: "JWT", kid })}.${body}.${mark}`);
  const jwk = other.publicKey.export({ format: "jwk" });
  const forged = `${encode({ alg: "ES256", typ: "JWT", kid, jwk })}.${body}`;
  const own = sign("sha256", Buffer.from(forged), { key: other.privateKey, dsaEncoding: "ieee-p1363" });
  bad({}, `${forged}.${own.toString("base64url")}`);
  bad({}, `${token}.x`);
  bad({}, `${head}.${body}`);
  bad({}, "");
});

test("any changed character is refused", async () => {
  const { signer, publicKey } = makeKey();
  const token = await makeEar(input(), signer);
  const letters = "ABCDEFGHabcdefgh0123-_";
  fc.assert(
    fc.property(fc.integer({ min: 0, max: token.length - 2 }), fc.constantFrom(...letters), (place, letter) => {
      if (token[place] === letter) return;
      const changed = token.slice(0, place) + letter + token.slice(place + 1);
      assert.throws(() => verifyEar(changed, needs(publicKey)), refused);
    }),
    { numRuns: 200 },
  );
});

test("another curve, a nonce that is none, a life too long, and nothing to say are refused", async () => {
  const { signer } = makeKey();
  await assert.rejects(makeEar(input(), makeKey("P-384").signer), refused);
  await assert.rejects(makeEar(input({ nonce: new Uint8Array(7) }), signer), refused);
  await assert.rejects(makeEar(input({ nonce: new Uint8Array(65) }), signer), refused);
  await assert.rejects(makeEar(input({ lifeSeconds: 24 * 3600 + 1 }), signer), refused);
  await assert.rejects(makeEar(input({ lifeSeconds: Number.NaN }), signer), refused);
  await assert.rejects(makeEar(input({ submodules: {} }), signer), refused);
});

test("attest verify signs its result, attest keys prints what verifies it", async (t) => {
  if (!hasVectors) return t.skip(NO_VECTORS);
  const cwd = mkdtempSync(join(tmpdir(), "modelkeep-ear-"));
  t.after(() => rmSync(cwd, { recursive: true }));
  const { privateKey, publicKey } = makeKey();
  writeFileSync(join(cwd, "key.pem"), privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(join(cwd, "key.pub"), publicKey.export({ type: "spki", format: "pem" }));
  writeFileSync(join(cwd, "quote.bin"), bytesOf("tdx/phala-v4-b0c06f/quote.bin"));
  writeFileSync(join(cwd, "collateral.json"), bytesOf("tdx/phala-v4-b0c06f/collateral.json"));
  const line = "attest verify quote.bin --kind tdx --collateral collateral.json --ear-key key.pem --ear-issuer me";
  const run = (text: string) => runCli(text.split(" "), { cwd });
  const good = await run(`${line} --at 2025-06-25 --json`);
  assert.equal(good.exit, 0, good.stderr);
  const keys = { keys: [publicKey], issuer: "me", now: Date.now() };
  assert.equal(verifyEar(JSON.parse(good.stdout).ear, keys).submodules.cpu0?.status, "warning");
  const late = await run(`${line} --at 2025-09-01 --ear-output result.jwt --ear-profile trustee`);
  assert.equal(late.exit, 4);
  const { submodules } = verifyEar(readFileSync(join(cwd, "result.jwt"), "utf8"), keys);
  assert.equal(submodules.cpu0?.status, "contraindicated");
  assert.equal((await run(`${line} --at 2025-06-25`)).exit, 2, "nowhere to put it");
  const set = JSON.parse((await run("attest keys key.pub")).stdout);
  assert.equal(set.keys[0].kid, publicJwk(createPublicKey(privateKey)).kid);
  assert.equal("d" in set.keys[0], false);
});
