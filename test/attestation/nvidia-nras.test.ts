/** Tokens of the attestation service: every signature, digest, date and device, and what "overall true" does not say. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { NVIDIA_NRAS_ANCHORS } from "../../src/attestation/nvidia/anchors.ts";
import { type NrasClaims, parseNrasAnswer, verifyNrasToken } from "../../src/attestation/nvidia/nras.ts";
import { checkNrasKey, parseNrasKeys } from "../../src/attestation/nvidia/nras-keys.ts";
import { Rules, type Verdict } from "../../src/attestation/verdict.ts";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";
import { makeKeys } from "../support/der-writer.ts";
import { chain, deviceClaims, overallClaims, PASSED, seconds, sha256, times } from "./support/nras.ts";
import { ABSENT, CC_ON, failedRules, makeNras, NONCE, NOW, profileOf, vector, vectorText } from "./support/nvidia.ts";

const nras = makeNras();
const keys = parseNrasKeys(nras.jwks);
const profile = profileOf({ nras_anchors: [nras.anchor], gpu_count: 1 });

function answer(change: { overall?: object; device?: object; submods?: object; tokens?: Record<string, string> } = {}) {
  const tokens = change.tokens ?? { "GPU-0": nras.token({ ...deviceClaims, ...change.device }) };
  const digests = Object.entries(tokens).map(([name, text]) => [name, ["DIGEST", ["SHA-256", sha256(text)]]]);
  const submods = change.submods ?? Object.fromEntries(digests);
  return utf8(JSON.stringify([["JWT", nras.token({ ...overallClaims, submods, ...change.overall })], tokens]));
}

function judge(data: Uint8Array, change: Partial<Parameters<typeof verifyNrasToken>[0]> = {}): Verdict<NrasClaims> {
  return verifyNrasToken({
    answer: data,
    keys,
    profile,
    now: NOW + 1000,
    expectedNonce: NONCE,
    ccState: CC_ON,
    ...change,
  });
}

test("an answer in order is accepted, with its devices as claims", () => {
  const verdict = judge(answer());
  assert.deepEqual(failedRules(verdict), []);
  assert.equal(verdict.verdict, "accepted");
  assert.equal(verdict.claims?.devices[0]?.driverVersion, "580.1");
  assert.equal(verdict.claims?.expiresAt, NOW + 3_600_000);
});

test("trap 23: overall true says nothing of confidential computing and developer tools", () => {
  const good = answer();
  const { ccState: _, ...without } = { ccState: 0, answer: good };
  assert.deepEqual(failedRules(verifyNrasToken({ ...without, keys, profile, now: NOW, expectedNonce: NONCE })), [
    "nvidia.cc-state",
  ]);
  assert.deepEqual(failedRules(judge(good, { ccState: { cc_feature: "OFF", devtools_mode: "OFF" } })), [
    "nvidia.cc-state",
  ]);
  assert.deepEqual(failedRules(judge(good, { ccState: { cc_feature: "ON", devtools_mode: "ON" } })), [
    "nvidia.devtools",
  ]);
  for (const device of [{ secboot: false }, { dbgstat: "enabled" }]) {
    assert.deepEqual(failedRules(judge(answer({ device }))), ["nvidia.nras.device.debug"]);
  }
});

test("trap 23: the digest is that of the token's text, and the set of devices is exactly the one named", () => {
  const token = nras.token(deviceClaims);
  const named = (text: string) => ({ "GPU-0": ["DIGEST", ["SHA-256", sha256(text)]] });
  const again = nras.token({ ...deviceClaims, measres: "success" });
  const wrong: Parameters<typeof answer>[0][] = [
    { tokens: { "GPU-0": again }, submods: named(token) },
    { tokens: { "GPU-0": token }, submods: named(`${token} `) },
    { tokens: { "GPU-0": token }, submods: {} },
    { tokens: { "GPU-1": token }, submods: named(token) },
    { tokens: { "GPU-0": token, "GPU-1": nras.token({ ...deviceClaims, ueid: "2" }) }, submods: named(token) },
    { tokens: { "GPU-0": token }, submods: { ...named(token), "GPU-1": ["DIGEST", ["SHA-256", sha256(token)]] } },
  ];
  for (const change of wrong) assert.ok(failedRules(judge(answer(change))).includes("nvidia.nras.digest"));
});

test("trap 23: a key that lives longer than 48 hours, has expired or is of another authority does not count", () => {
  const day = 24 * 3_600_000;
  const others: [ReturnType<typeof makeNras>, string][] = [
    [makeNras({ notBefore: NOW - day, notAfter: NOW + 2 * day }), "nvidia.nras.key-life"],
    [makeNras({ notBefore: NOW - 2 * day, notAfter: NOW - 1 }), "nvidia.nras.key"],
    [makeNras({ notBefore: NOW + 2000, notAfter: NOW + day }), "nvidia.nras.key"],
    [makeNras({ keyUsage: ["keyAgreement"] }), "nvidia.nras.key"],
    [makeNras({ keys: makeKeys("P-384") }), "nvidia.nras.key-life"],
  ];
  for (const [other, rule] of others) {
    const [key] = parseNrasKeys(other.jwks);
    assert.ok(key);
    const rules = new Rules();
    assert.equal(checkNrasKey(rules, key, NOW + 1000, [other.anchor]), false);
    assert.deepEqual(
      rules.list.filter(({ result }) => result === "failed").map(({ id }) => id),
      [rule],
    );
  }
  const stranger = parseNrasKeys(makeNras().jwks);
  assert.deepEqual(failedRules(judge(answer(), { keys: stranger })), ["nvidia.nras.key", "nvidia.nras.signature"]);
  assert.ok(failedRules(judge(answer(), { profile: profileOf() })).includes("nvidia.nras.key"), "the pin of NVIDIA");
});

test("trap 28: a key in the token's own header is not believed", () => {
  const mallory = makeNras();
  const { keys: list } = JSON.parse(Buffer.from(mallory.jwks).toString());
  for (const header of [
    { alg: "ES384", kid: "k1", jwk: list[0] },
    { alg: "ES384", kid: "k1", x5c: list[0].x5c },
    { alg: "ES384", kid: "mallory", jwk: list[0] },
  ]) {
    const device = mallory.token(deviceClaims, header);
    const submods = { "GPU-0": ["DIGEST", ["SHA-256", sha256(device)]] };
    const forged = [["JWT", mallory.token({ ...overallClaims, submods }, header)], { "GPU-0": device }];
    const verdict = judge(utf8(JSON.stringify(forged)));
    assert.ok(failedRules(verdict).includes("nvidia.nras.signature"), JSON.stringify(header).slice(0, 60));
  }
});

test("other algorithms, none among them, are not tokens", { skip: ABSENT }, () => {
  const device = nras.token(deviceClaims);
  const under = (header: object, deviceHeader: object = { alg: "ES384", kid: "k1" }) => {
    const token = nras.token(deviceClaims, deviceHeader);
    const claims = { ...overallClaims, submods: { "GPU-0": ["DIGEST", ["SHA-256", sha256(token)]] } };
    return utf8(JSON.stringify([["JWT", nras.token(claims, header)], { "GPU-0": token }]));
  };
  assert.deepEqual(failedRules(judge(under({ alg: "ES384", kid: "k1" }))), []);
  const bad = [
    { alg: "none" },
    { alg: "none", kid: "k1" },
    { alg: "HS384", kid: "k1" },
    { alg: "ES256", kid: "k1" },
    { alg: "ES384" },
    { alg: "ES384", kid: "k1", crit: ["exp"] },
  ];
  for (const header of bad) {
    assert.deepEqual(failedRules(judge(under(header))), ["nvidia.nras.format"], JSON.stringify(header));
    const inDevice = under({ alg: "ES384", kid: "k1" }, header);
    assert.deepEqual(failedRules(judge(inDevice)), ["nvidia.nras.format"], JSON.stringify(header));
  }
  for (const text of ["", "a", "a.b", `${device}.x`, device.replace(/[^.]*$/, ""), `${device}=`, "x".repeat(40_000)]) {
    const verdict = judge(answer({ tokens: { "GPU-0": text } }));
    assert.equal(verdict.verdict, "refused", text.slice(0, 20));
  }
  const local = JSON.parse(vectorText("nvattest-output/gpu_attestation_h100.json"));
  assert.deepEqual(failedRules(judge(utf8(JSON.stringify(local.detached_eat)))), ["nvidia.nras.format"], "unsigned");
});

test("issuer, subject, version, nonce, dates and result of the overall token", () => {
  const changes: [object, string][] = [
    [{ iss: "https://nras.example" }, "nvidia.nras.issuer"],
    [{ sub: "X" }, "nvidia.nras.issuer"],
    [{ "x-nvidia-ver": "2.0" }, "nvidia.nras.issuer"],
    [{ eat_nonce: "00" }, "nvidia.nras.nonce"],
    [{ eat_nonce: "zz" }, "nvidia.nras.nonce"],
    [{ exp: seconds }, "nvidia.nras.time"],
    [{ nbf: seconds + 3000 }, "nvidia.nras.time"],
    [{ exp: seconds + 90_000 }, "nvidia.nras.time"],
    [{ "x-nvidia-overall-att-result": false }, "nvidia.nras.overall"],
    [{ "x-nvidia-overall-att-result": "true" }, "nvidia.nras.format"],
    [{ exp: "9999999999" }, "nvidia.nras.format"],
  ];
  for (const [overall, rule] of changes) {
    assert.deepEqual(failedRules(judge(answer({ overall }))), [rule], JSON.stringify(overall));
  }
});

test("what the service says of a device: every check, certificate, date and nonce", () => {
  const revoked = { ...chain, "x-nvidia-cert-ocsp-status": "revoked" };
  const hold = { ...revoked, "x-nvidia-cert-revocation-reason": "certificate_hold" };
  const changes: [object, string][] = [
    [{ iss: "https://nras.example" }, "nvidia.nras.device.token"],
    [{ eat_nonce: "00" }, "nvidia.nras.device.token"],
    [{ exp: seconds }, "nvidia.nras.device.token"],
    [{ measres: "fail" }, "nvidia.nras.device.checks"],
    ...PASSED.map((check): [object, string] => [{ [`x-nvidia-gpu-${check}`]: false }, "nvidia.nras.device.checks"]),
    ...PASSED.map((check): [object, string] => [{ [`x-nvidia-gpu-${check}`]: undefined }, "nvidia.nras.device.checks"]),
    [{ "x-nvidia-gpu-new-check": false }, "nvidia.nras.device.checks"],
    [{ "x-nvidia-gpu-attestation-report-cert-chain": revoked }, "nvidia.nras.device.certificates"],
    [{ "x-nvidia-gpu-attestation-report-cert-chain": hold }, "nvidia.nras.device.certificates"],
    [{ "x-nvidia-gpu-attestation-report-cert-chain": undefined }, "nvidia.nras.device.certificates"],
    [
      { "x-nvidia-gpu-driver-rim-cert-chain": { ...chain, "x-nvidia-cert-status": "expired" } },
      "nvidia.nras.device.certificates",
    ],
    [{ "x-nvidia-gpu-driver-rim-cert-chain": null }, "nvidia.nras.device.certificates"],
    [{ secboot: "true" }, "nvidia.nras.format"],
    [{ hwmodel: "LS_10 A01 FSP BROM" }, "nvidia.device.arch"],
    [{ hwmodel: "GH200 A01 GSP BROM" }, "nvidia.device.arch"],
  ];
  for (const [device, rule] of changes) {
    assert.deepEqual(failedRules(judge(answer({ device }))), [rule], JSON.stringify(device));
  }
  const allowed = { ...profile, allow_certificate_hold: true };
  const held = answer({ device: { "x-nvidia-gpu-attestation-report-cert-chain": hold } });
  assert.deepEqual(failedRules(judge(held, { profile: allowed })), []);
  const gone = answer({ device: { "x-nvidia-gpu-attestation-report-cert-chain": revoked } });
  assert.deepEqual(failedRules(judge(gone, { profile: allowed })), ["nvidia.nras.device.certificates"]);
});

test("a switch has no driver, and its checks go by their own names", () => {
  const checks = ["arch-check", ...PASSED.filter((check) => check.startsWith("attestation-report-"))];
  const { iss, eat_nonce, measres, secboot, dbgstat } = deviceClaims;
  const claims = {
    ...{ iss, eat_nonce, ...times, measres, secboot, dbgstat, ueid: "77", hwmodel: "LS_10 A01 FSP BROM" },
    ...Object.fromEntries(checks.map((check) => [`x-nvidia-switch-${check}`, true])),
    "x-nvidia-switch-attestation-report-cert-chain": chain,
    "x-nvidia-switch-bios-version": "96.10.55.00.01",
  };
  const tokens = (more: object) => ({
    "GPU-0": nras.token(deviceClaims),
    "SWITCH-0": nras.token({ ...claims, ...more }),
  });
  const asked = { ...profile, driver_min: "580.1" };
  const ask = (more: object) => failedRules(judge(answer({ tokens: tokens(more) }), { profile: asked }));
  assert.deepEqual(ask({}), []);
  assert.deepEqual(ask({ "x-nvidia-switch-attestation-report-cert-chain-fwid-match": undefined }), []);
  for (const check of checks.filter((name) => !name.endsWith("fwid-match"))) {
    assert.deepEqual(ask({ [`x-nvidia-switch-${check}`]: undefined }), ["nvidia.nras.device.checks"], check);
  }
  assert.deepEqual(ask({ "x-nvidia-switch-attestation-report-cert-chain": undefined }), [
    "nvidia.nras.device.certificates",
  ]);
});

test("count, uniqueness, allow list and versions", () => {
  const twins = answer({
    tokens: { "GPU-0": nras.token(deviceClaims), "GPU-1": nras.token({ ...deviceClaims, iat: seconds - 1 }) },
  });
  assert.deepEqual(failedRules(judge(twins)), ["nvidia.devices.count", "nvidia.devices.unique"]);
  const needs: [Parameters<typeof profileOf>[0], string][] = [
    [{ ueid_allow: ["1"] }, "nvidia.device.ueid"],
    [{ archs: ["BLACKWELL"] }, "nvidia.device.arch"],
    [{ gpu_count: 2 }, "nvidia.devices.count"],
    [{ switch_count: 4 }, "nvidia.devices.count"],
    [{ driver_min: "580.2" }, "nvidia.driver.minimum"],
    [{ driver_allow: ["580.10"] }, "nvidia.driver.allowed"],
    [{ vbios_allow: ["96.00.74.00.21"] }, "nvidia.vbios.allowed"],
    [{ vbios_min: "96.00.74.00.21" }, "nvidia.vbios.minimum"],
    [{ vbios_min: "97.00.00.00.01" }, "nvidia.vbios.minimum"],
  ];
  for (const [need, rule] of needs) {
    const asked = profileOf({ nras_anchors: [nras.anchor], ...need });
    assert.deepEqual(failedRules(judge(answer(), { profile: asked })), [rule], JSON.stringify(need));
  }
});

test("the recorded answer: digest of the token's text, dates, and a key that is not known", { skip: ABSENT }, () => {
  const data = vector("nras/hopperClaimsv3_detached_eat.json");
  const nonce = Buffer.from("931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb", "hex");
  const at = (now: number) => judge(data, { expectedNonce: Uint8Array.from(nonce), now, profile: profileOf() });
  assert.deepEqual(failedRules(at(1_749_602_000_000)), ["nvidia.nras.key", "nvidia.nras.signature"]);
  const late = failedRules(at(1_749_605_458_000));
  assert.ok(late.includes("nvidia.nras.time") && late.includes("nvidia.nras.device.token"));
  assert.ok(!late.includes("nvidia.nras.digest"));
  const decoded = JSON.parse(vectorText("nras/hopperClaimsv3_decoded.json"));
  assert.deepEqual(parseNrasAnswer(data).devices.get("GPU-0")?.claims, decoded["GPU-0"]);
});

test("the recorded chain of a key: good for its two days, under the pin", { skip: ABSENT }, () => {
  const { x5c } = JSON.parse(vectorText("nras/nras_gpu_x5c_chain.json"));
  const { publicKey } = new X509Certificate(Buffer.from(x5c[0], "base64"));
  const jwk = { kid: "k", ...publicKey.export({ format: "jwk" }), x5c };
  const [key] = parseNrasKeys(utf8(JSON.stringify({ keys: [jwk] })));
  assert.ok(key);
  const at = (now: number, anchors = NVIDIA_NRAS_ANCHORS) => checkNrasKey(new Rules(), key, now, anchors);
  assert.equal(at(Date.UTC(2026, 5, 9)), true);
  assert.equal(at(Date.UTC(2026, 5, 8)), false);
  assert.equal(at(Date.UTC(2026, 5, 11)), false);
  assert.equal(at(Date.UTC(2026, 5, 9), [nras.anchor]), false);
});

test("key sets that are none", () => {
  const [one] = JSON.parse(Buffer.from(nras.jwks).toString()).keys;
  const bad = [
    {},
    { keys: [] },
    { keys: [one, one] },
    { keys: [{ ...one, crv: "P-256" }] },
    { keys: [{ ...one, x5c: ["*"] }] },
  ];
  for (const value of bad) {
    assert.throws(
      () => parseNrasKeys(utf8(JSON.stringify(value))),
      (error) => error instanceof ModelkeepError && error.extra?.rule === "nvidia.nras.keys",
    );
  }
});

test("no character of the answer can be changed (property)", () => {
  const data = answer();
  fc.assert(
    fc.property(fc.nat(data.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = data.slice();
      changed[at] = (changed[at] ?? 0) ^ flip;
      if (Buffer.from(changed).toString().replaceAll(/\s/g, "") === Buffer.from(data).toString()) return;
      assert.equal(judge(changed).verdict, "refused");
    }),
    { numRuns: 150 },
  );
});
