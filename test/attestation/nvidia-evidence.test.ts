/** The SPDM report, its opaque data and the collectors' JSON: recorded ones read as upstream reads them, hostile ones refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { makeGpuEvidence, parseGpuEvidence } from "../../src/attestation/nvidia/evidence.ts";
import { parseOpaque } from "../../src/attestation/nvidia/opaque.ts";
import { parseSpdmReport } from "../../src/attestation/nvidia/spdm.ts";
import { rimIds } from "../../src/attestation/nvidia/versions.ts";
import { concatBytes, ModelkeepError, toBase64, toHex, utf8 } from "../../src/base/index.ts";
import { ABSENT, makeDevice, NONCE, vector, vectorReport, vectorText, writeReport } from "./support/nvidia.ts";

const refused = (rule?: string) => (error: unknown) =>
  error instanceof ModelkeepError &&
  error.code === "EVIDENCE_REFUSED" &&
  (rule === undefined ? String(error.extra?.rule).startsWith("nvidia.") : error.extra?.rule === rule);

const device = makeDevice();
const [leaf] = device.parties;
const report = writeReport(leaf.privateKey);
const ZEROS = new Uint8Array(48);
const json = (value: unknown) => utf8(JSON.stringify(value));

test("hopper-580.159.03 reads as spdm-parsed says", { skip: ABSENT }, () => {
  const parsed = parseSpdmReport(vectorReport("hopper-580.159.03/report.txt"));
  const upstream = JSON.parse(vectorText("spdm-parsed/spdm_parsed_output.json"));
  const request = JSON.parse(vectorText("spdm-parsed/spdm_req_parsed_output.json"));
  assert.equal(parsed.measurements.size, upstream.NumberOfBlocks);
  assert.equal(parsed.recordBytes, upstream.MeasurementRecordLength);
  assert.equal(parsed.opaqueBytes, upstream.OpaqueLength);
  assert.equal(`0x${toHex(parsed.nonce)}`, request.Nonce);
  assert.equal(`0x${toHex(parsed.responderNonce)}`, upstream.Nonce);
  assert.equal(`0x${toHex(parsed.signature)}`, upstream.Signature);
  const blocks: Record<string, { DMTFSpecMeasurementValue: string }> = upstream.MeasurementRecord.MeasurementBlocks;
  for (const [index, { DMTFSpecMeasurementValue: value }] of Object.entries(blocks)) {
    assert.equal(`0x${toHex(parsed.measurements.get(Number(index)) ?? new Uint8Array())}`, value, index);
  }
  const fields = upstream.OpaqueData.OpaqueDataField;
  assert.equal(`0x${parsed.opaque.fwid}`, fields.OPAQUE_FIELD_ID_FWID);
  assert.deepEqual(parsed.opaque.measurementCounts, fields.OPAQUE_FIELD_ID_MSRSCNT);
});

test("versions and manifest ids of the recorded devices", { skip: ABSENT }, () => {
  const ids = (folder: string, arch: "HOPPER" | "BLACKWELL" | "LS10") =>
    rimIds(arch, parseSpdmReport(vectorReport(`${folder}/report.txt`)).opaque);
  assert.deepEqual(ids("hopper-full-set-545.00", "HOPPER"), {
    driver: "NV_GPU_DRIVER_GH100_545.00",
    vbios: "NV_GPU_VBIOS_1010_0200_882_96005E0001",
  });
  assert.deepEqual(ids("hopper-580.159.03", "HOPPER"), {
    driver: "NV_GPU_DRIVER_GH100_580.159.03",
    vbios: "NV_GPU_VBIOS_1010_0205_862_9600740020",
  });
  assert.deepEqual(ids("blackwell", "BLACKWELL"), {
    driver: "NV_GPU_CC_DRIVER_GB100_575.32",
    vbios: "NV_GPU_VBIOS_G525_0220_886_970088000F",
  });
  assert.deepEqual(ids("switch-ls10", "LS10"), { vbios: "NV_SWITCH_BIOS_5612_0002_890_9610550001" });
});

test("trap 19: the signature is found by the lengths, bytes behind it are not read", () => {
  const plain = parseSpdmReport(report);
  for (const extra of [1, 2, 16]) {
    const parsed = parseSpdmReport(concatBytes(report, new Uint8Array(extra).fill(0xee)));
    assert.equal(parsed.trailingBytes, extra);
    assert.deepEqual(parsed.signature, plain.signature);
    assert.deepEqual(parsed.signed, plain.signed);
  }
  assert.throws(() => parseSpdmReport(concatBytes(report, new Uint8Array(17))), refused("nvidia.report.format"));
});

test("a report that is cut off anywhere is refused", () => {
  for (let length = 0; length < report.length; length++) {
    assert.throws(() => parseSpdmReport(report.subarray(0, length)), refused(), String(length));
  }
});

test("requests and responses of other kinds are refused", () => {
  const changes: [number, number][] = [
    [0, 0x10],
    [0, 0x12],
    [1, 0xe1],
    [2, 0],
    [3, 1],
    [36, 1],
    [37, 0x12],
    [38, 0x7f],
    [40, 1],
    [41, 0],
    [41, 41],
    [42, 0],
    [45, 2],
    [46, 0],
    [49, 0x81],
    [50, 47],
  ];
  for (const [at, value] of changes) {
    const changed = report.slice();
    changed[at] = value;
    assert.throws(() => parseSpdmReport(changed), refused("nvidia.report.format"), `${at} ${value}`);
  }
  const descending = writeReport(leaf.privateKey, {
    measurements: new Map([
      [2, ZEROS],
      [1, ZEROS],
    ]),
  });
  assert.throws(() => parseSpdmReport(descending), refused("nvidia.report.format"));
  const none = writeReport(leaf.privateKey, { measurements: new Map() });
  assert.throws(() => parseSpdmReport(none), refused("nvidia.report.format"));
  assert.throws(() => parseSpdmReport(new Uint8Array(20_000)), refused("nvidia.report.format"));
});

test("opaque data: fields that come twice, end early or have another size are refused", () => {
  const field = (type: number, ...bytes: number[]) => Uint8Array.of(type, 0, bytes.length, 0, ...bytes);
  const bad = [
    Uint8Array.of(3),
    Uint8Array.of(3, 0, 5, 0, 1),
    concatBytes(field(11, 0x55), field(11, 0x55)),
    field(11, 0x55, 0x55),
    field(36, 1),
    field(20, 1, 2, 3),
    field(22, 1, 2, 3),
    field(12, 1, 2, 3),
    field(3, 0x35, 0, 0x35),
    field(3, 0x80, 0),
    field(3, ...new Array(65).fill(0x35)),
    concatBytes(...Array.from({ length: 65 }, (_, i) => field(100 + i))),
  ];
  for (const bytes of bad) assert.throws(() => parseOpaque(bytes), refused("nvidia.report.opaque"), toHex(bytes));
  assert.equal(parseOpaque(field(11, 0x54)).nvdec0, "unknown");
  assert.equal(parseOpaque(field(36, 3, 0)).ccMode, "unknown");
  assert.equal(parseOpaque(field(36, 0, 1)).ccMode, "unknown");
  assert.equal(parseOpaque(field(3, 0)).driverVersion, undefined);
});

test("every form of the collectors' JSON gives the same devices", () => {
  const entry = { arch: "HOPPER", evidence: toBase64(report), certificate: toBase64(utf8(device.pem)) };
  const forms: unknown[] = [
    [entry],
    { device_evidence_list: [{ ...entry, uuid: "GPU-1" }] },
    { evidences: [{ ...entry, nonce: toHex(NONCE), driver_version: "1", version: "1.0" }], result_code: 0 },
  ];
  for (const form of forms) assert.equal(parseGpuEvidence(json(form)).devices.length, 1, JSON.stringify(form));
});

test("trap 29: evidence is base64 or hex, certificates PEM or base64 of it, also with the NUL of a C string", () => {
  const certificates = [device.pem, toBase64(utf8(device.pem)), toBase64(utf8(`${device.pem}\0`)), `${device.pem}\0\0`];
  for (const evidence of [toBase64(report), toHex(report), toHex(report).toUpperCase()]) {
    for (const certificate of certificates) {
      const [parsed] = parseGpuEvidence(json([{ arch: "HOPPER", evidence, certificate }])).devices;
      assert.deepEqual(parsed?.report.nonce, NONCE);
      assert.equal(parsed?.certificates.length, 5);
    }
  }
});

test("JSON that is not evidence is refused", () => {
  const good = { arch: "HOPPER", evidence: toBase64(report), certificate: device.pem };
  const bad: [unknown, string][] = [
    [[], "nvidia.evidence.format"],
    [{}, "nvidia.evidence.format"],
    [null, "nvidia.evidence.format"],
    [[{ ...good, arch: "VOLTA" }], "nvidia.evidence.format"],
    [[{ ...good, more: 1 }], "nvidia.evidence.format"],
    [{ evidences: [good], result_code: 1 }, "nvidia.evidence.format"],
    [{ device_evidence_list: [good], cc_state: { cc_feature: "MAYBE" } }, "nvidia.evidence.format"],
    [Array.from({ length: 33 }, () => good), "nvidia.evidence.format"],
    [[{ ...good, evidence: "*" }], "nvidia.evidence.format"],
    [[{ ...good, evidence: "AAAA" }], "nvidia.report.format"],
    [[{ ...good, certificate: toBase64(utf8("no chain")) }], "nvidia.chain.format"],
    [[{ ...good, certificate: "-----BEGIN CERTIFICATE-----\n" }], "nvidia.chain.format"],
    [[{ ...good, certificate: device.pem.repeat(2) }], "nvidia.chain.format"],
    [[{ ...good, certificate: device.pem.replaceAll("CERTIFICATE", "PUBLIC KEY") }], "nvidia.chain.format"],
  ];
  for (const [value, rule] of bad) {
    assert.throws(() => parseGpuEvidence(json(value)), refused(rule), JSON.stringify(value).slice(0, 200));
  }
  assert.throws(() => parseGpuEvidence(utf8('[{"arch":"HOPPER","arch":"LS10"}]')), refused("nvidia.evidence.format"));
});

test("recorded collections parse: 8 GPUs, 4 switches, serialized ones", { skip: ABSENT }, () => {
  const counts = {
    "ppcie-8gpu-4switch/gpu_evidence.json": 8,
    "ppcie-8gpu-4switch/switch_evidence.json": 4,
    "serialized/hopper_evidence.json": 1,
    "serialized/hopper_evidence_cert_hold.json": 1,
    "serialized/switch_evidence_ls10.json": 1,
  };
  for (const [path, count] of Object.entries(counts))
    assert.equal(parseGpuEvidence(vector(path)).devices.length, count);
});

test("any bytes end in a refusal or a report, never in another error (property)", () => {
  const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
  const mutated = fc
    .array(fc.tuple(fc.nat(report.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    .map((changes) => {
      const copy = report.slice();
      for (const [at, value] of changes) copy[at] = value;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 600 })), (bytes) => {
      for (const parse of [
        () => makeGpuEvidence("HOPPER", bytes, device.pem),
        () => parseGpuEvidence(bytes),
        () => parseOpaque(bytes),
      ]) {
        try {
          parse();
        } catch (error) {
          assert.ok(refused()(error), String(error));
        }
      }
    }),
    seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 300 },
  );
});
