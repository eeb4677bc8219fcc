/** What is asked of NVIDIA's services: an id cannot leave its place in the address, an answer is what was asked for. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ocspQuestions, parseRimAnswer, rimUrl } from "../../src/attestation/nvidia/collateral.ts";
import { makeGpuEvidence } from "../../src/attestation/nvidia/evidence.ts";
import { ModelkeepError, toBase64, utf8 } from "../../src/base/index.ts";
import { parseDer } from "../../src/codec/index.ts";
import { makeDevice, writeReport } from "./support/nvidia.ts";

const refused = (rule: string) => (error: unknown) =>
  error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;

test("the address of a manifest holds nothing but its id", () => {
  const id = "NV_GPU_DRIVER_GH100_550.144.03";
  assert.equal(rimUrl(id, "http://127.0.0.1:1"), `http://127.0.0.1:1/v1/rim/${id}`);
  assert.equal(new URL(rimUrl(id)).hostname, "rim.attestation.nvidia.com");
  for (const bad of [
    "",
    "ids",
    "NV_../x",
    "NV_a/b",
    "NV_a?b",
    "NV_a#b",
    "NV_a b",
    "NV_a%2f",
    `NV_${"a".repeat(121)}`,
  ]) {
    assert.throws(() => rimUrl(bad), refused("nvidia.rim.id"), bad);
  }
});

test("an answer with another id, without base64 or without a manifest is refused", () => {
  const json = (value: unknown) => utf8(JSON.stringify(value));
  const good = { id: "NV_A", rim: toBase64(utf8("<x/>")), sha256: "", last_updated: "", request_id: "" };
  assert.deepEqual(parseRimAnswer(json(good), "NV_A"), utf8("<x/>"));
  for (const bad of [{ ...good, id: "NV_B" }, { ...good, rim: "*" }, { id: "NV_A" }, [], null]) {
    assert.throws(() => parseRimAnswer(json(bad), "NV_A"), refused("nvidia.rim.answer"), JSON.stringify(bad));
  }
  assert.throws(() => parseRimAnswer(utf8("{"), "NV_A"), refused("nvidia.rim.answer"));
});

test("questions: every certificate below the root, of a device without the leaf", () => {
  const device = makeDevice();
  const { certificates } = makeGpuEvidence("HOPPER", writeReport(device.parties[0].privateKey), device.pem);
  const ofDevice = ocspQuestions(certificates, "device");
  assert.deepEqual(
    ofDevice.map(({ certificate, issuer }) => [certificate.sha256, issuer.sha256]),
    [1, 2, 3].map((i) => [certificates[i]?.sha256, certificates[i + 1]?.sha256]),
  );
  for (const { request } of ofDevice) assert.ok(parseDer(request));
  assert.equal(ocspQuestions(certificates, "rim").length, 4);
});
