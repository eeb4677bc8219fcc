/** One GPU or switch: the recorded cases with their verdicts, and a test authority for everything nobody recorded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createNvidiaCache } from "../../src/attestation/nvidia/cache.ts";
import type { NvidiaArch } from "../../src/attestation/nvidia/evidence.ts";
import { makeGpuEvidence, parseGpuEvidence } from "../../src/attestation/nvidia/evidence.ts";
import type { NvidiaProfile } from "../../src/attestation/nvidia/profile.ts";
import { type GpuInput, verifyGpu } from "../../src/attestation/nvidia/verify.ts";
import { fromHex, utf8 } from "../../src/base/index.ts";
import { makeAuthority, makeCertificate, makeOcspResponse, type Party } from "../support/der-writer.ts";
import {
  ABSENT,
  CC_ON,
  failedRules,
  golden,
  makeDevice,
  makeDeviceRoot,
  makeRim,
  makeRimSigner,
  makeWorld,
  NONCE,
  NOW,
  pemOf,
  profileOf,
  type ReportOptions,
  signRimBody,
  vector,
  vectorReport,
  vectorText,
  writeReport,
  writeRimBody,
} from "./support/nvidia.ts";

const at = (year: number, month: number, day = 1) => Date.UTC(year, month - 1, day);
const OFFLINE = { require_ocsp: false, cc_state: "if-present" } as const;

interface Recorded {
  readonly arch?: NvidiaArch;
  readonly now?: number;
  readonly rims?: readonly string[];
  readonly exceptions?: Partial<NvidiaProfile>;
}

function judgeRecorded(folder: string, { arch = "HOPPER", now = at(2024, 1), rims = [], exceptions }: Recorded = {}) {
  const chain = vectorText(`${folder}/cert_chain.pem`);
  const evidence = makeGpuEvidence(arch, vectorReport(`${folder}/report.txt`), chain);
  const profile = profileOf({ ...OFFLINE, ...exceptions });
  const expectedNonce = evidence.report.nonce;
  return verifyGpu({ evidence, rims: rims.map(vector), ocsp: [], profile, now, expectedNonce });
}

const FULL = ["hopper-full-set-545.00/driver_rim.swidtag", "hopper-full-set-545.00/vbios_rim.swidtag"];

test("hopper-full-set-545.00: 21 and 12 measurements equal at 2024-01-01, expired manifests at 2026-01-01", {
  skip: ABSENT,
}, () => {
  const exceptions = { allow_absent_fwid: true };
  const good = judgeRecorded("hopper-full-set-545.00", { rims: FULL, exceptions });
  assert.deepEqual(failedRules(good), []);
  assert.equal(good.verdict, "accepted");
  assert.equal(good.claims?.comparedMeasurements, 32, "33 of the manifests without the disabled decoder");
  assert.equal(good.claims?.fwid, "absent");
  const late = judgeRecorded("hopper-full-set-545.00", { rims: FULL, exceptions, now: at(2026, 1) });
  assert.deepEqual(failedRules(late), ["nvidia.rim.chain", "nvidia.rim.chain"]);
  const lenient = { ...exceptions, allow_expired_rim: true };
  const accepted = judgeRecorded("hopper-full-set-545.00", { rims: FULL, exceptions: lenient, now: at(2026, 1) });
  assert.deepEqual(failedRules(accepted), []);
});

test("trap 21: hopper-full-set-545.00 has no FWID, which is not a match", { skip: ABSENT }, () => {
  const verdict = judgeRecorded("hopper-full-set-545.00", { rims: FULL });
  assert.deepEqual(failedRules(verdict), ["nvidia.device.fwid"]);
  assert.equal(verdict.claims?.fwid, "absent");
});

test("by default a recorded device is refused: nothing says that it is not revoked, or that CC is on", {
  skip: ABSENT,
}, () => {
  const exceptions = { require_ocsp: true, cc_state: "required" as const, allow_absent_fwid: true };
  assert.deepEqual(failedRules(judgeRecorded("hopper-full-set-545.00", { rims: FULL, exceptions })), [
    "nvidia.device.revocation",
    "nvidia.cc-state",
    "nvidia.rim.revocation",
    "nvidia.rim.revocation",
  ]);
});

test("hopper-550.90.07, hopper-535.86.09, hopper-580.159.03, blackwell: signature, chain and FWID", {
  skip: ABSENT,
}, () => {
  const cases: [string, NvidiaArch, string][] = [
    ["hopper-550.90.07", "HOPPER", "match"],
    ["hopper-535.86.09", "HOPPER", "absent"],
    ["hopper-580.159.03", "HOPPER", "match"],
    ["blackwell", "BLACKWELL", "match"],
  ];
  for (const [folder, arch, fwid] of cases) {
    const exceptions = { require_rims: false, allow_absent_fwid: true };
    const verdict = judgeRecorded(folder, { arch, exceptions });
    assert.deepEqual(failedRules(verdict), [], folder);
    assert.equal(verdict.claims?.fwid, fwid, folder);
    assert.equal(verdict.claims?.arch, arch);
    const strict = failedRules(judgeRecorded(folder, { arch, exceptions: { allow_absent_fwid: true } }));
    assert.deepEqual(strict, ["nvidia.rim.driver", "nvidia.rim.vbios"], folder);
  }
});

test("hopper-535.86.09 with the VBIOS manifest of its version: 12 of 12", { skip: ABSENT }, () => {
  const rims = ["vbios-rims/1010_0200_882_96005E0001_PROD.swidtag"];
  const exceptions = { require_rims: false, allow_absent_fwid: true };
  const verdict = judgeRecorded("hopper-535.86.09", { rims, exceptions });
  assert.deepEqual(failedRules(verdict), []);
  assert.equal(verdict.claims?.comparedMeasurements, 12);
});

test("hopper-580.159.03 with an older issue of its VBIOS manifest: index 9 differs", { skip: ABSENT }, () => {
  const rims = ["vbios-rims/1010_0205_862_9600740020_PROD.swidtag"];
  const verdict = judgeRecorded("hopper-580.159.03", { rims, exceptions: { require_rims: false } });
  assert.deepEqual(failedRules(verdict), ["nvidia.rim.measurements"]);
  const rule = verdict.rules.find(({ id }) => id === "nvidia.rim.measurements");
  assert.match(rule?.have ?? "", /\b9\b/);
});

test("switch-ls10: 31 of 31 at 2026-09-01, not yet valid at 2026-01-01", { skip: ABSENT }, () => {
  const rims = ["switch-ls10/vbios_rim.xml"];
  const good = judgeRecorded("switch-ls10", { arch: "LS10", rims, now: at(2026, 9) });
  assert.deepEqual(failedRules(good), []);
  assert.equal(good.claims?.comparedMeasurements, 31);
  assert.equal(good.claims?.kind, "switch");
  const early = judgeRecorded("switch-ls10", { arch: "LS10", rims, now: at(2026, 1) });
  assert.deepEqual(failedRules(early), ["nvidia.rim.chain"]);
});

test("serialized/hopper_evidence, switch_evidence_ls10, hopper_evidence_cert_hold: in order without OCSP", {
  skip: ABSENT,
}, () => {
  for (const name of ["hopper_evidence", "switch_evidence_ls10", "hopper_evidence_cert_hold"]) {
    const [evidence] = parseGpuEvidence(vector(`serialized/${name}.json`)).devices;
    const [{ nonce }] = JSON.parse(vectorText(`serialized/${name}.json`));
    assert.ok(evidence);
    const profile = profileOf({ ...OFFLINE, require_rims: false });
    const expectedNonce = fromHex(nonce) ?? new Uint8Array();
    const verdict = verifyGpu({ evidence, rims: [], ocsp: [], profile, now: at(2025, 6), expectedNonce });
    assert.deepEqual(failedRules(verdict), [], name);
  }
});

test("negative/hopper_report_invalid_signature: refused, whichever chain stands beside it", { skip: ABSENT }, () => {
  const report = vectorReport("negative/hopper_report_invalid_signature.txt");
  const evidence = makeGpuEvidence("HOPPER", report, vectorText("hopper-535.86.09/cert_chain.pem"));
  const profile = profileOf({ ...OFFLINE, require_rims: false });
  const expectedNonce = evidence.report.nonce;
  const verdict = verifyGpu({ evidence, rims: [], ocsp: [], profile, now: at(2024, 1), expectedNonce });
  assert.ok(failedRules(verdict).includes("nvidia.report.signature"));
});

test("negative manifests beside a good report: refused by signature", { skip: ABSENT }, () => {
  for (const bad of ["incorrect_signature_driver_rim.xml", "NV_GPU_DRIVER_GH100_570.124.03_expired.xml"]) {
    const exceptions = { allow_absent_fwid: true, require_rims: false };
    const rims = [...FULL, `negative/${bad}`];
    assert.deepEqual(failedRules(judgeRecorded("hopper-full-set-545.00", { rims, exceptions })), [
      "nvidia.rim.signature",
    ]);
  }
});

const world = makeWorld();
const [leaf, chip, factory, identity, root] = world.device.parties;

/** Answers about every certificate below the root, of the issuers themselves. */
function answers(parties: readonly Party[], more: object = {}): Uint8Array[] {
  return parties.slice(0, -1).map((party, i) => {
    const issuer = parties[i + 1] ?? party;
    const times = { thisUpdate: NOW - 3_600_000, nextUpdate: NOW + 24 * 3_600_000 };
    return makeOcspResponse({ serial: party.serial, issuer, responder: issuer, status: "good", ...times, ...more });
  });
}
const ocspOfDevice = answers(world.device.parties);
const ocspOfRims = answers(world.signer.parties);

interface Change {
  readonly report?: ReportOptions;
  readonly key?: Party["privateKey"];
  readonly pem?: string;
  readonly arch?: NvidiaArch;
  readonly profile?: Partial<NvidiaProfile>;
  readonly input?: Partial<GpuInput>;
}

/** With every answer about revocation, as the default asks for them; most tests are about something else. */
function judgeOnline(change: Change = {}) {
  const input = { ocsp: [...ocspOfDevice, ...ocspOfRims], ...change.input };
  return judge({ ...change, profile: { require_ocsp: true, ...change.profile }, input });
}

function judge({
  report,
  key = leaf.privateKey,
  pem = world.device.pem,
  arch = "HOPPER",
  profile,
  input,
}: Change = {}) {
  return verifyGpu({
    evidence: makeGpuEvidence(arch, writeReport(key, report), pem),
    rims: world.rims,
    ocsp: [],
    profile: profileOf({ require_ocsp: false, ...profile }),
    now: NOW,
    expectedNonce: NONCE,
    ccState: CC_ON,
    anchors: world.anchors,
    ...input,
  });
}

test("a device in order is accepted under the secure default, with claims and the age of its collateral", () => {
  const verdict = judgeOnline();
  assert.deepEqual(failedRules(verdict), []);
  assert.ok(verdict.rules.every(({ result }) => result === "passed"));
  assert.equal(verdict.verdict, "accepted");
  const { claims } = verdict;
  assert.equal(claims?.driverVersion, "580.1");
  assert.equal(claims?.vbiosVersion, "96.00.74.00.20");
  assert.equal(claims?.ccMode, "SPT");
  assert.equal(claims?.revocation, "good");
  assert.equal(claims?.ueid, String(leaf.serial));
  assert.equal(claims?.comparedMeasurements, 35);
  assert.equal(claims?.pdi?.length, 16);
  assert.equal(verdict.collateral?.nextUpdateAt, NOW + 24 * 3_600_000);
});

test("trap 24: another nonce, or one that only begins alike, is refused", () => {
  for (const expectedNonce of [new Uint8Array(32), NONCE.slice(0, 31), new Uint8Array(64).fill(7)]) {
    assert.deepEqual(failedRules(judge({ input: { expectedNonce } })), ["nvidia.report.nonce"]);
  }
});

test("trap 19: r and s are big-endian and belong to the bytes in front of them, whatever follows", () => {
  assert.deepEqual(failedRules(judge({ report: { trailing: Uint8Array.of(1) } })), []);
  assert.deepEqual(failedRules(judge({ key: chip.privateKey })), ["nvidia.report.signature"]);
  const evidence = makeGpuEvidence("HOPPER", writeReport(leaf.privateKey), world.device.pem);
  const { signature } = evidence.report;
  const others = [signature.toReversed(), new Uint8Array(96), signature.with(0, (signature[0] ?? 0) ^ 1)];
  for (const other of others) {
    const forged = { ...evidence, report: { ...evidence.report, signature: other } };
    assert.deepEqual(failedRules(judge({ input: { evidence: forged } })), ["nvidia.report.signature"]);
  }
});

test("chains of others: swapped, look-alike, cut, expired, wrong usage, made by the device itself", () => {
  const other = makeDevice();
  assert.deepEqual(failedRules(judge({ pem: other.pem, key: other.parties[0].privateKey, input: { ocsp: [] } })), [
    "nvidia.device.chain",
  ]);
  assert.ok(failedRules(judge({ pem: pemOf([leaf, factory, identity, root]) })).includes("nvidia.device.chain"));
  assert.ok(failedRules(judge({ pem: pemOf([leaf]) })).includes("nvidia.device.chain"));
  assert.ok(failedRules(judge({ input: { now: Date.UTC(2040, 0, 1) } })).includes("nvidia.device.chain"));
  const wrong: Parameters<typeof makeDevice>[0][] = [
    { leaf: { keyUsage: ["keyCertSign"] } },
    { leaf: { notAfter: NOW - 1000 } },
    { leaf: { notBefore: NOW + 1000 } },
    { chip: { notAfter: NOW - 1000 } },
    { chip: { ca: false, keyUsage: ["digitalSignature"] } },
    { chip: { keyUsage: ["digitalSignature"] } },
  ];
  for (const change of wrong) {
    const made = makeDevice({ root: makeDeviceRoot(), ...change });
    const anchors = { ...world.anchors, device: [made.anchor] };
    const failed = failedRules(judge({ pem: made.pem, key: made.parties[0].privateKey, input: { anchors } }));
    assert.ok(failed.includes("nvidia.device.chain"), JSON.stringify(Object.keys(change ?? {})));
  }
  const own = makeCertificate({
    subject: "GH100 A01 GSP FMC LF",
    issuer: leaf,
    keyUsage: ["digitalSignature"],
    keyKind: "P-384",
  });
  const extended = pemOf([own, ...world.device.parties]);
  assert.ok(failedRules(judge({ pem: extended, key: own.privateKey })).includes("nvidia.device.chain"), "no CA flag");
  const inRims = { device: world.anchors.rim, rim: world.anchors.device };
  assert.ok(failedRules(judge({ input: { anchors: inRims } })).includes("nvidia.device.chain"));
});

test("a certificate beside the path gives no identity", () => {
  const decoy = makeAuthority({ subject: "GH100 A01 GSP BROM", keyKind: "P-384" });
  const verdict = judge({ pem: pemOf([leaf, decoy, chip, factory, identity, root]) });
  assert.deepEqual(failedRules(verdict), []);
  assert.equal(verdict.claims?.pdi, judge().claims?.pdi);
});

test("the label of the evidence must be what the chip's certificate says, and one that is accepted", () => {
  assert.ok(failedRules(judge({ arch: "BLACKWELL" })).includes("nvidia.device.arch"));
  assert.ok(failedRules(judge({ arch: "LS10" })).includes("nvidia.device.arch"));
  assert.deepEqual(failedRules(judge({ profile: { archs: ["BLACKWELL"] } })), ["nvidia.device.arch"]);
});

test("trap 21: a FWID that is absent, another, or not certified is never a match", () => {
  const absent = { fields: new Map([[20, undefined]]) };
  assert.deepEqual(failedRules(judge({ report: absent })), ["nvidia.device.fwid"]);
  const accepted = judge({ report: absent, profile: { allow_absent_fwid: true } });
  assert.deepEqual(failedRules(accepted), []);
  assert.equal(accepted.claims?.fwid, "absent");
  const other = { fields: new Map([[20, new Uint8Array(48)]]) };
  for (const profile of [{}, { allow_absent_fwid: true }]) {
    const verdict = judge({ report: other, profile });
    assert.deepEqual(failedRules(verdict), ["nvidia.device.fwid"]);
    assert.equal(verdict.claims?.fwid, "mismatch");
  }
  const uncertified = makeDevice({ root, leaf: { extensions: [] } });
  const verdict = judge({
    pem: uncertified.pem,
    key: uncertified.parties[0].privateKey,
    profile: { require_ocsp: false },
  });
  assert.deepEqual(failedRules(verdict), ["nvidia.device.fwid"]);
});

test("trap 20: a measurement that differs, is missing or is named twice; any alternative is right", () => {
  const measured = (change: (all: Map<number, Uint8Array>) => void) => {
    const all = new Map(Array.from({ length: 40 }, (_, i) => [i + 1, golden(i)] as const));
    change(all);
    return judge({ report: { measurements: all } });
  };
  assert.deepEqual(failedRules(measured((all) => void all.set(10, golden(99)))), ["nvidia.rim.measurements"]);
  assert.deepEqual(failedRules(measured((all) => void all.delete(10))), ["nvidia.rim.measurements"]);
  assert.deepEqual(failedRules(measured((all) => void all.set(40, golden(99)))), [], "what no manifest names");
  const [driver = new Uint8Array()] = world.rims;
  const vbios = (active: [number, Uint8Array[]][]) =>
    makeRim({ version: "96.00.74.00.20", active: new Map(active) }, world.signer);
  const conflict = judge({ input: { rims: [driver, vbios([[19, [golden(19)]]])] } });
  assert.deepEqual(failedRules(conflict), ["nvidia.rim.index-conflict"]);
  const second = judge({ input: { rims: [driver, vbios([[30, [golden(1), golden(2), golden(30)]]])] } });
  assert.deepEqual(failedRules(second), []);
  const none = judge({ input: { rims: [driver, vbios([[30, [golden(1), golden(2)]]])] } });
  assert.deepEqual(failedRules(none), ["nvidia.rim.measurements"]);
});

test("manifests that name no active measurement prove nothing", () => {
  const [driver, vbios] = ["580.1", "96.00.74.00.20"].map((version) => {
    const body = writeRimBody({ version, active: new Map([[0, [golden(0)]]]) }).replace('"True"', '"False"');
    return utf8(signRimBody(body, world.signer));
  });
  assert.ok(driver && vbios);
  assert.deepEqual(failedRules(judge({ input: { rims: [driver, vbios] } })), ["nvidia.rim.measurements"]);
});

test("trap 20: index 35 is passed over only while the decoder says that it is disabled", () => {
  const [driver = new Uint8Array()] = world.rims;
  const rims = [
    driver,
    makeRim(
      {
        version: "96.00.74.00.20",
        active: new Map([
          [35, [golden(1)]],
          [36, [golden(36)]],
        ]),
      },
      world.signer,
    ),
  ];
  const status = (value: Uint8Array | undefined) =>
    failedRules(judge({ report: { fields: new Map([[11, value]]) }, input: { rims } }));
  assert.deepEqual(status(Uint8Array.of(0x55)), []);
  for (const value of [Uint8Array.of(0xaa), Uint8Array.of(0), undefined]) {
    assert.deepEqual(status(value), ["nvidia.rim.measurements"]);
  }
});

test("manifests of other versions and products do not count, and the one signed last does", () => {
  const [driver = new Uint8Array(), vbios = new Uint8Array()] = world.rims;
  assert.deepEqual(failedRules(judge({ input: { rims: [driver] } })), ["nvidia.rim.vbios"]);
  assert.deepEqual(failedRules(judge({ input: { rims: [vbios] } })), ["nvidia.rim.driver"]);
  assert.deepEqual(failedRules(judge({ input: { rims: [] } })), ["nvidia.rim.driver", "nvidia.rim.vbios"]);
  const active = new Map([[0, [golden(0)]]]);
  const strange = [
    makeRim({ version: "580.2", active }, world.signer),
    makeRim({ version: "580.1", product: "GB100", active }, world.signer),
    makeRim({ version: "580.1", product: "LS10", active }, world.signer),
  ];
  assert.deepEqual(failedRules(judge({ input: { rims: [...strange, vbios] } })), ["nvidia.rim.driver"]);
  const [, lower, upper, rimRoot] = world.signer.parties;
  assert.ok(lower && upper && rimRoot);
  const late = makeCertificate({
    subject: "HCC RIM L4 Signer",
    issuer: lower,
    keyUsage: ["digitalSignature"],
    keyKind: "P-384",
    notBefore: NOW - 1000,
  });
  const reissued = makeRim(
    { version: "580.1", active: new Map([[0, [golden(77)]]]) },
    { ...world.signer, parties: [late, lower, upper, rimRoot] },
  );
  for (const rims of [
    [reissued, driver, vbios],
    [driver, vbios, reissued],
  ]) {
    const verdict = judge({ input: { rims }, profile: { require_ocsp: false } });
    assert.deepEqual(failedRules(verdict), ["nvidia.rim.measurements"]);
  }
});

test("a manifest that is signed last but not yet valid, or by a stranger, does not stand in front of a good one", () => {
  const [, lower, upper, rimRoot] = world.signer.parties;
  assert.ok(lower && upper && rimRoot);
  const early = makeCertificate({
    subject: "HCC RIM L4 Signer",
    issuer: lower,
    keyUsage: ["digitalSignature"],
    keyKind: "P-384",
    notBefore: NOW + 1000,
  });
  const options = { version: "580.1", active: new Map([[0, [golden(77)]]]) };
  const future = makeRim(options, { ...world.signer, parties: [early, lower, upper, rimRoot] });
  const stranger = makeRim(options, makeRimSigner({ leaf: { notBefore: NOW - 1 } }));
  assert.deepEqual(failedRules(judge({ input: { rims: [future, stranger, ...world.rims] } })), []);
});

test("trap 22: answers must be fresh, about this certificate, and of its issuer or whom it named for that", () => {
  const ask = (ocsp: readonly Uint8Array[], profile: Partial<NvidiaProfile> = {}) =>
    failedRules(judgeOnline({ profile, input: { ocsp: [...ocsp, ...ocspOfRims] } }));
  const failed = ["nvidia.device.revocation"];
  const hour = 3_600_000;
  assert.deepEqual(ask(ocspOfDevice), []);
  assert.deepEqual(ask([]), failed);
  assert.deepEqual(ask(ocspOfDevice.slice(0, 3)), failed);
  assert.deepEqual(ask(ocspOfDevice.slice(1)), [], "nobody answers for the leaf");
  assert.deepEqual(
    ask(answers(world.device.parties, { thisUpdate: NOW - 48 * hour, nextUpdate: NOW - 24 * hour })),
    failed,
  );
  assert.deepEqual(ask(answers(world.device.parties, { thisUpdate: NOW + hour, nextUpdate: NOW + 24 * hour })), failed);
  const old = answers(world.device.parties, { thisUpdate: NOW - 200 * hour, nextUpdate: NOW + 24 * hour });
  assert.deepEqual(ask(old), failed, "older than a week");
  assert.deepEqual(ask(old, { ocsp_max_age_hours: 240 }), []);
  assert.deepEqual(ask(answers(makeDevice().parties)), failed, "about others");
  assert.deepEqual(ask(answers(world.device.parties, { status: "unknown" })), failed);
  assert.deepEqual(ask(answers(world.device.parties, { responder: makeAuthority({ subject: "x" }) })), failed);
  assert.deepEqual(ask([Uint8Array.of(1, 2, 3)]), [
    "nvidia.ocsp.format",
    "nvidia.device.revocation",
    "nvidia.rim.revocation",
    "nvidia.rim.revocation",
  ]);
  const delegate = (issuer: Party, extendedKeyUsage: string[]) =>
    makeCertificate({ subject: "OCSP", issuer, extendedKeyUsage, keyUsage: ["digitalSignature"] });
  const answered = (purpose: string) =>
    world.device.parties.slice(0, -1).flatMap((party, i) => {
      const issuer = world.device.parties[i + 1] ?? party;
      return answers([party, issuer], { responder: delegate(issuer, [purpose]) });
    });
  assert.deepEqual(ask(answered("1.3.6.1.5.5.7.3.9")), []);
  assert.deepEqual(ask(answered("1.3.6.1.5.5.7.3.1")), failed, "another purpose");
});

test("trap 22: a hold is accepted only by name, a revocation never, and none of them grows old", () => {
  const hour = 3_600_000;
  const about = (i: number, more: object) =>
    answers([world.device.parties[i] ?? leaf, world.device.parties[i + 1] ?? chip], more);
  const ask = (extra: readonly Uint8Array[], profile: Partial<NvidiaProfile> = {}) =>
    judgeOnline({ profile, input: { ocsp: [...extra, ...ocspOfDevice.slice(2), ...ocspOfRims] } });
  const failed = ["nvidia.device.revocation"];
  const hold = about(1, { status: "revoked", reason: 6 });
  assert.deepEqual(failedRules(ask(hold)), failed);
  assert.equal(ask(hold).claims?.revocation, "hold");
  assert.deepEqual(failedRules(ask(hold, { allow_certificate_hold: true })), []);
  assert.deepEqual(failedRules(ask(hold, { require_ocsp: false })), failed, "a hold that is known counts");
  const lifted = about(1, { thisUpdate: NOW - 1000 });
  assert.deepEqual(failedRules(ask([...hold, ...lifted])), [], "the newest answer");
  const lenient = { allow_certificate_hold: true, require_ocsp: false };
  for (const reason of [undefined, 1, 4]) {
    const revoked = about(1, { status: "revoked", reason });
    assert.deepEqual(failedRules(ask(revoked, lenient)), failed);
    assert.deepEqual(failedRules(ask([...revoked, ...lifted], lenient)), failed, "for ever");
    const stale = about(1, { status: "revoked", reason, thisUpdate: NOW - 900 * hour, nextUpdate: NOW - 800 * hour });
    assert.deepEqual(failedRules(ask([...stale, ...lifted], lenient)), failed, "also when the answer is old");
  }
  const leafRevoked = about(0, { status: "revoked", reason: 1 });
  assert.deepEqual(failedRules(ask([...leafRevoked, ...lifted])), failed, "an answer about the leaf counts");
  const onlyHold = { profile: { allow_certificate_hold: true }, input: { ocsp: [...hold, ...ocspOfRims] } };
  assert.deepEqual(failedRules(judgeOnline(onlyHold)), failed, "the answers about the others are missing");
});

test("a revoked signer of manifests is refused", () => {
  const [signer, issuer] = world.signer.parties;
  assert.ok(signer && issuer);
  const revoked = answers([signer, issuer], { status: "revoked", reason: 1 });
  const ocsp = [...revoked, ...ocspOfDevice, ...ocspOfRims.slice(1)];
  assert.deepEqual(failedRules(judgeOnline({ input: { ocsp } })), ["nvidia.rim.revocation", "nvidia.rim.revocation"]);
});

test("trap 23: confidential computing off, developer tools on, nothing said, a simulation", () => {
  const state = (ccState: GpuInput["ccState"], profile: Partial<NvidiaProfile> = {}) =>
    failedRules(judge({ profile, input: ccState ? { ccState } : {} }));
  assert.deepEqual(state({ cc_feature: "OFF", devtools_mode: "OFF" }), ["nvidia.cc-state"]);
  assert.deepEqual(state({ cc_feature: "OFF", devtools_mode: "OFF" }, { cc_state: "if-present" }), ["nvidia.cc-state"]);
  assert.deepEqual(state({ cc_feature: "ON", devtools_mode: "ON" }), ["nvidia.devtools"]);
  assert.deepEqual(state({ cc_feature: "ON", devtools_mode: "ON" }, { allow_devtools: true }), []);
  assert.deepEqual(state({ cc_feature: "ON", devtools_mode: "OFF", environment: "SIM" }), ["nvidia.cc-state"]);
  const silent = (profile: Partial<NvidiaProfile>) => {
    const evidence = makeGpuEvidence("HOPPER", writeReport(leaf.privateKey), world.device.pem);
    const rest = { rims: world.rims, ocsp: [...ocspOfDevice, ...ocspOfRims], now: NOW, expectedNonce: NONCE };
    return verifyGpu({ evidence, ...rest, profile: profileOf(profile), anchors: world.anchors });
  };
  assert.deepEqual(failedRules(silent({})), ["nvidia.cc-state"]);
  const skipped = silent({ cc_state: "if-present" });
  assert.deepEqual(failedRules(skipped), []);
  assert.equal(skipped.rules.find(({ id }) => id === "nvidia.cc-state")?.result, "unchecked");
});

test("modes that the device signs: unknown ones, ones that are not accepted, protected PCIe that is off", () => {
  const mode = (flag: number, pcie: number, profile: Partial<NvidiaProfile> = {}) =>
    failedRules(
      judge({
        profile,
        report: {
          fields: new Map([
            [36, Uint8Array.of(flag, 0)],
            [21, Uint8Array.of(pcie)],
          ]),
        },
      }),
    );
  assert.deepEqual(mode(0, 0x55), []);
  assert.deepEqual(mode(1, 0x55), []);
  assert.deepEqual(mode(2, 0xaa), []);
  assert.deepEqual(mode(2, 0x55), ["nvidia.cc-mode"]);
  assert.deepEqual(mode(3, 0x55), ["nvidia.cc-mode"]);
  assert.deepEqual(mode(0, 0x55, { cc_modes: ["PPCIE"] }), ["nvidia.cc-mode"]);
});

test("protected PCIe is a mode also where an older driver states no mode", () => {
  const older = (pcie: number, cc_modes: NvidiaProfile["cc_modes"]) => {
    const fields = new Map([
      [36, undefined],
      [21, Uint8Array.of(pcie)],
    ]);
    return failedRules(judge({ profile: { cc_modes }, report: { fields } }));
  };
  assert.deepEqual(older(0xaa, ["PPCIE"]), []);
  assert.deepEqual(older(0xaa, ["SPT", "MPT"]), ["nvidia.cc-mode"]);
  assert.deepEqual(older(0x55, ["SPT"]), []);
  assert.deepEqual(older(0x77, ["SPT", "MPT", "PPCIE"]), ["nvidia.cc-mode"]);
});

test("devices and versions that the profile names", () => {
  const needs: [Partial<NvidiaProfile>, string[]][] = [
    [{ ueid_allow: [String(leaf.serial)] }, []],
    [{ ueid_allow: ["1"] }, ["nvidia.device.ueid"]],
    [{ driver_min: "580.1" }, []],
    [{ driver_min: "580.1.0" }, []],
    [{ driver_min: "580.10" }, ["nvidia.driver.minimum"]],
    [{ driver_min: "99.9" }, []],
    [{ driver_allow: ["580.1"] }, []],
    [{ driver_allow: ["580.01"] }, ["nvidia.driver.allowed"]],
    [{ vbios_allow: ["96.00.74.00.20"] }, []],
    [{ vbios_allow: ["96.00.74.00.2"].map((v) => `${v}1`) }, ["nvidia.vbios.allowed"]],
    [{ vbios_min: "96.00.74.00.1F" }, []],
    [{ vbios_min: "96.00.74.00.21" }, ["nvidia.vbios.minimum"]],
    [{ vbios_min: "96.00.A0.00.01" }, ["nvidia.vbios.minimum"]],
    [{ vbios_min: "95.00.00.00.01" }, ["nvidia.vbios.minimum"]],
  ];
  for (const [profile, failed] of needs)
    assert.deepEqual(failedRules(judge({ profile })), failed, JSON.stringify(profile));
  const nameless = {
    fields: new Map([
      [3, undefined],
      [6, undefined],
    ]),
  };
  const all = {
    driver_min: "1.0",
    driver_allow: ["580.1"],
    vbios_min: "96.00.00.00.00",
    vbios_allow: ["96.00.74.00.20"],
  };
  assert.deepEqual(failedRules(judge({ report: nameless, profile: { ...all, require_rims: false } })), [
    "nvidia.driver.minimum",
    "nvidia.driver.allowed",
    "nvidia.vbios.allowed",
    "nvidia.vbios.minimum",
  ]);
});

test("a switch signs which one it is, and its certificate says the same", { skip: ABSENT }, () => {
  const chain = vectorText("switch-ls10/cert_chain.pem");
  const evidence = makeGpuEvidence("LS10", vectorReport("switch-ls10/report.txt"), chain);
  const { report } = evidence;
  const profile = profileOf({ ...OFFLINE, require_rims: false });
  for (const switchPdis of [[], ["0000000000000001"], [...report.opaque.switchPdis, "0000000000000001"]]) {
    const forged = { ...evidence, report: { ...report, opaque: { ...report.opaque, switchPdis } } };
    const rest = { rims: [], ocsp: [], profile, now: at(2025, 6), expectedNonce: report.nonce };
    assert.deepEqual(failedRules(verifyGpu({ evidence: forged, ...rest })), ["nvidia.device.pdi"]);
  }
});

test("a cache of manifests and chains changes nothing in a verdict, also when time goes on", () => {
  const cache = createNvidiaCache();
  for (const now of [NOW, NOW, Date.UTC(2040, 0, 1), Date.UTC(2020, 0, 1), NOW]) {
    assert.deepEqual(failedRules(judge({ input: { cache, now } })), failedRules(judge({ input: { now } })));
  }
});

test("no bit of what is signed can be flipped (property)", () => {
  const raw = writeReport(leaf.privateKey);
  const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
  const cache = createNvidiaCache();
  fc.assert(
    fc.property(fc.nat(raw.length * 8 - 1), (bit) => {
      const flipped = raw.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      let evidence: ReturnType<typeof makeGpuEvidence>;
      try {
        evidence = makeGpuEvidence("HOPPER", flipped, world.device.pem);
      } catch {
        return;
      }
      const profile = profileOf({ require_ocsp: false });
      const rest = { rims: world.rims, ocsp: [], profile, now: NOW, expectedNonce: NONCE, ccState: CC_ON, cache };
      const verdict = verifyGpu({ evidence, ...rest, anchors: world.anchors });
      assert.ok(failedRules(verdict).includes("nvidia.report.signature"), `bit ${bit}`);
    }),
    seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 150 },
  );
});
