/** CPU and GPUs as one machine, and the verifier behind the common interface: one nonce, the right devices, each once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { GpuClaims } from "../../src/attestation/nvidia/claims.ts";
import { verifyComposite } from "../../src/attestation/nvidia/composite.ts";
import { parseGpuEvidence } from "../../src/attestation/nvidia/evidence.ts";
import type { NvidiaProfile } from "../../src/attestation/nvidia/profile.ts";
import { nvidiaProfile } from "../../src/attestation/nvidia/profile.ts";
import { createNvidiaJudge, createNvidiaVerifier, measureDevices } from "../../src/attestation/nvidia/verifier.ts";
import { verifyGpu } from "../../src/attestation/nvidia/verify.ts";
import type { Verdict } from "../../src/attestation/verdict.ts";
import { fromHex, ModelkeepError, toBase64, utf8 } from "../../src/base/index.ts";
import {
  ABSENT,
  CC_ON,
  failedRules,
  makeDevice,
  makeWorld,
  NONCE,
  NOW,
  profileOf,
  vector,
  writeReport,
} from "./support/nvidia.ts";

const OFFLINE = { require_ocsp: false, require_rims: false, cc_state: "if-present" } as const;
const PPCIE_NONCE = fromHex("4760e30534a0621357d458b1a7936551b5dc4cd1e69718adf7ed9fb0252a537e") ?? new Uint8Array();
const cpu: Verdict<{ tee: string }> = { verdict: "accepted", rules: [], advisories: ["A-1"], claims: { tee: "snp" } };
const refusedCpu: Verdict<{ tee: string }> = { verdict: "refused", rules: [], advisories: [] };

const recorded = ["gpu", "switch"].flatMap((kind) =>
  ABSENT ? [] : parseGpuEvidence(vector(`ppcie-8gpu-4switch/${kind}_evidence.json`)).devices,
);

function judgeRecorded(profile: NvidiaProfile, nonce = PPCIE_NONCE) {
  const rest = { rims: [], ocsp: [], profile, now: Date.UTC(2026, 0, 1), expectedNonce: nonce };
  return recorded.map((evidence) => verifyGpu({ evidence, ...rest }));
}

test("ppcie-8gpu-4switch: one nonce, twelve devices, linked to each other", { skip: ABSENT }, () => {
  const profile = profileOf({ ...OFFLINE, gpu_count: 8, switch_count: 4 });
  const devices = judgeRecorded(profile);
  const verdict = verifyComposite({ cpu, devices, nonce: PPCIE_NONCE, profile });
  assert.deepEqual(failedRules(verdict), []);
  assert.equal(verdict.verdict, "accepted");
  assert.equal(verdict.claims?.devices.length, 12);
  assert.equal(verdict.claims?.cpu?.tee, "snp");
  assert.deepEqual(verdict.advisories, ["A-1"]);
  assert.ok(verdict.rules.some(({ id, result }) => id === "nvidia.devices.topology" && result === "passed"));
  assert.ok(devices.every(({ claims }) => claims?.kind === "switch" || claims?.ccMode === "PPCIE"));
});

test("trap 24: same nonce for all, count of GPUs, each once", { skip: ABSENT }, () => {
  const profile = profileOf({ ...OFFLINE, gpu_count: 8, switch_count: 4 });
  const devices = judgeRecorded(profile);
  const [first, ...others] = devices;
  assert.ok(first);
  const judge = (list: readonly Verdict<GpuClaims>[], nonce = PPCIE_NONCE, asked = profile) =>
    failedRules(verifyComposite({ cpu, devices: list, nonce, profile: asked }));
  assert.deepEqual(judge(others), ["nvidia.devices.gpu-count"]);
  assert.deepEqual(judge([...devices, first]), ["nvidia.devices.unique", "nvidia.devices.gpu-count"]);
  assert.deepEqual(judge([first, first, ...others.slice(1)]), ["nvidia.devices.unique"], "a twin in place of another");
  assert.deepEqual(judge(devices.slice(0, 11)), ["nvidia.devices.switch-count", "nvidia.devices.topology"]);
  assert.deepEqual(judge(devices, new Uint8Array(32)), ["nvidia.devices.nonce"]);
  assert.deepEqual(judge(devices.slice(0, 8), PPCIE_NONCE, { ...profile, switch_count: 0 }), []);
  const silent = profileOf(OFFLINE);
  assert.deepEqual(judge(devices, PPCIE_NONCE, silent), []);
  assert.deepEqual(judge(devices.slice(0, 8), PPCIE_NONCE, silent), ["nvidia.devices.topology"], "no switch at all");
  assert.deepEqual(judge(devices.slice(0, 8), PPCIE_NONCE, { ...silent, allow_absent_switches: true }), []);
  const sameChip = devices.map((verdict, i) =>
    verdict.claims && i < 2 ? { ...verdict, claims: { ...verdict.claims, pdi: first.claims?.pdi ?? "" } } : verdict,
  );
  assert.deepEqual(judge(sameChip), ["nvidia.devices.unique"], "one chip under two names");
  const stale = { ...first, claims: first.claims && { ...first.claims, nonce: "00".repeat(32) } } as Verdict<GpuClaims>;
  assert.deepEqual(judge([stale, ...others]), ["nvidia.devices.nonce"]);
});

test("a GPU that no switch knows, and a GPU with links to a switch that is not here", { skip: ABSENT }, () => {
  const profile = profileOf(OFFLINE);
  const devices = judgeRecorded(profile);
  const change = (claims: Partial<GpuClaims>) =>
    devices.map((verdict, i) =>
      i === 0 && verdict.claims ? { ...verdict, claims: { ...verdict.claims, ...claims } } : verdict,
    );
  for (const claims of [{ pdi: "0000000000000001" }, { switchPdis: ["0000000000000001"] }]) {
    const list = change(claims);
    assert.deepEqual(failedRules(verifyComposite({ cpu, devices: list, nonce: PPCIE_NONCE, profile })), [
      "nvidia.devices.topology",
    ]);
  }
});

test("a refused CPU or device refuses the machine; no device is no machine", () => {
  const world = makeWorld();
  const profile = profileOf({ require_ocsp: false });
  const judge = createNvidiaJudge({ profile, rims: world.rims, anchors: world.anchors });
  const parsed = parseGpuEvidence(evidenceOf([world.device]));
  const { rules, claims: [claims] = [] } = judge(parsed, NONCE, NOW);
  assert.ok(claims);
  const device: Verdict<GpuClaims> = { verdict: "accepted", rules, advisories: [], claims };
  const composite = (cpuVerdict: Verdict<{ tee: string }>, devices: readonly Verdict<GpuClaims>[]) =>
    failedRules(verifyComposite({ cpu: cpuVerdict, devices, nonce: NONCE, profile }));
  assert.deepEqual(composite(cpu, [device]), []);
  assert.deepEqual(composite(refusedCpu, [device]), ["nvidia.composite.cpu"]);
  assert.deepEqual(composite(cpu, [{ ...device, verdict: "refused" }]), ["nvidia.composite.devices"]);
  assert.deepEqual(composite(cpu, []), ["nvidia.composite.devices"]);
});

type Made = ReturnType<typeof makeDevice>;

function evidenceOf(devices: readonly Made[], more: { nonce?: Uint8Array; cc_state?: object } = {}): Uint8Array {
  const list = devices.map(({ parties: [leaf], pem }) => ({
    arch: "HOPPER",
    evidence: toBase64(writeReport(leaf.privateKey, { nonce: more.nonce ?? NONCE })),
    certificate: toBase64(utf8(pem)),
  }));
  return utf8(JSON.stringify({ device_evidence_list: list, cc_state: more.cc_state ?? CC_ON }));
}

const refused = (rule: string) => (error: unknown) =>
  error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;

test("trap 24: the verifier asks for the first 32 bytes of report data as nonce", async () => {
  const world = makeWorld();
  const [leaf, chip, , , root] = world.device.parties;
  assert.ok(leaf && chip);
  const second = makeDevice({ root });
  const profile = profileOf({ require_ocsp: false, gpu_count: 2 });
  const verifier = createNvidiaVerifier({ profile, rims: world.rims, anchors: world.anchors });
  const reportData = new Uint8Array(64).fill(7);
  const verify = (data: Uint8Array, expected = reportData) => verifier.verify({ kind: "nvidia", data }, expected, NOW);
  const claims = await verify(evidenceOf([world.device, second]));
  assert.equal(claims.kind, "nvidia");
  assert.equal(claims.debug, false);
  assert.deepEqual(claims.reportData, reportData);
  assert.match(claims.measurement, /^[0-9a-f]{96}$/);
  const both = [world.device, second];
  await assert.rejects(verify(evidenceOf(both, { nonce: new Uint8Array(32) })), refused("nvidia.report.nonce"));
  await assert.rejects(verify(evidenceOf(both), new Uint8Array(64)), refused("nvidia.report.nonce"));
  await assert.rejects(verify(evidenceOf([world.device])), refused("nvidia.devices.gpu-count"));
  await assert.rejects(verify(evidenceOf([second, second])), refused("nvidia.devices.unique"));
  await assert.rejects(verify(evidenceOf([world.device, makeDevice()])), refused("nvidia.device.chain"));
  const tools = { cc_feature: "ON", devtools_mode: "ON" };
  await assert.rejects(verify(evidenceOf(both, { cc_state: tools })), refused("nvidia.devtools"));
  await assert.rejects(verify(utf8("{}")), refused("nvidia.evidence.format"));
  await assert.rejects(verifier.verify({ kind: "snp", data: utf8("{}") }, reportData, NOW), refused("evidence.kind"));
});

test("who does not say that developer tools are off counts as debugged", async () => {
  const world = makeWorld();
  const profile = profileOf({ require_ocsp: false, cc_state: "if-present", allow_devtools: true });
  const verifier = createNvidiaVerifier({ profile, rims: world.rims, anchors: world.anchors });
  const reportData = new Uint8Array(64).fill(7);
  const on = evidenceOf([world.device], { cc_state: { cc_feature: "ON", devtools_mode: "ON" } });
  const { cc_state: _, ...silent } = JSON.parse(Buffer.from(on).toString());
  for (const data of [on, utf8(JSON.stringify(silent))]) {
    assert.equal((await verifier.verify({ kind: "nvidia", data }, reportData, NOW)).debug, true);
  }
});

test("collateral that cannot be read is refused when the verifier is made", () => {
  const profile = profileOf();
  assert.throws(() => createNvidiaVerifier({ profile, ocsp: [utf8("x")] }), refused("nvidia.ocsp.format"));
  const many = Array.from({ length: 257 }, () => utf8("<x/>"));
  assert.throws(() => createNvidiaVerifier({ profile, rims: many }), refused("nvidia.rim.count"));
});

test("the measurement of a machine does not depend on the order of its slots, but on everything it runs", () => {
  const one = { arch: "HOPPER", driverVersion: "580.1", vbiosVersion: "96.00.74.00.20" } as GpuClaims;
  const two = { ...one, vbiosVersion: "96.00.74.00.21" };
  assert.equal(measureDevices([one, two]), measureDevices([two, one]));
  const all = [
    [one],
    [two],
    [one, two],
    [one, one],
    [{ ...one, driverVersion: "580.2" }],
    [{ ...one, arch: "BLACKWELL" as const }],
  ];
  assert.equal(new Set(all.map(measureDevices)).size, all.length);
});

test("the profile: secure when empty, strict about every field", () => {
  assert.deepEqual(profileOf(), {
    archs: ["HOPPER", "BLACKWELL", "LS10"],
    allow_absent_devices: false,
    cc_state: "required",
    allow_devtools: false,
    cc_modes: ["SPT", "MPT", "PPCIE"],
    require_rims: true,
    allow_expired_rim: false,
    allow_absent_fwid: false,
    allow_absent_switches: false,
    require_ocsp: true,
    allow_certificate_hold: false,
    ocsp_max_age_hours: 168,
  });
  const bad: unknown[] = [
    { allow_devtool: true },
    { archs: [] },
    { archs: ["VOLTA"] },
    { gpu_count: 0 },
    { gpu_count: 1.5 },
    { driver_min: "latest" },
    { vbios_min: "96.00.74.00.2g" },
    { vbios_allow: ["96.00.74.00.1f"] },
    { ueid_allow: [1234] },
    { ocsp_max_age_hours: 0 },
    { ocsp_max_age_hours: Number.POSITIVE_INFINITY },
    { nras_anchors: ["xyz"] },
    { cc_state: "never" },
  ];
  for (const value of bad) assert.equal(nvidiaProfile.safeParse(value).success, false, JSON.stringify(value));
  for (const field of Object.values(nvidiaProfile.shape)) assert.ok(field.description, "every field is described");
});

test("any bytes as evidence end in a refusal, never in another error (property)", async () => {
  const world = makeWorld();
  const verifier = createNvidiaVerifier({ profile: profileOf(), rims: world.rims, anchors: world.anchors });
  const good = evidenceOf([world.device]);
  const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
  const mutated = fc.tuple(fc.nat(good.length - 1), fc.uint8Array({ maxLength: 8 })).map(([at, bytes]) => {
    const copy = good.slice();
    copy.set(bytes.subarray(0, good.length - at), at);
    return copy;
  });
  await fc.assert(
    fc.asyncProperty(fc.oneof(mutated, fc.uint8Array({ maxLength: 300 }), fc.json().map(utf8)), async (data) => {
      await assert.rejects(
        verifier.verify({ kind: "nvidia", data }, new Uint8Array(64).fill(7), NOW),
        (error) => error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED",
      );
    }),
    seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 150 },
  );
});
