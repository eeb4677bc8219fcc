/** Devices of a machine: what NVIDIA's programs print becomes one document; what they do not say is never made up. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createDeviceCollector } from "../../src/attestation/index.ts";
import { parseGpuEvidence } from "../../src/attestation/nvidia/evidence.ts";
import { ModelkeepError, toBase64, toHex, utf8 } from "../../src/base/index.ts";
import { makeDevice, NONCE, writeReport } from "./support/nvidia.ts";

const failsWith = (code: string) => (error: unknown) => error instanceof ModelkeepError && error.code === code;

const SMI = {
  "-f": "CC status: ON",
  "-d": "DevTools Mode: OFF",
  "-e": "CC Environment: PRODUCTION",
};

/** Programs that answer as NVIDIA's do: written from their documentation. */
function programs(t: TestContext, parts: { smi?: Partial<typeof SMI>; attest?: (device: string) => string } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-devices-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
    return join(folder, name);
  };
  const device = makeDevice();
  const [leaf] = device.parties;
  const evidence = { arch: "HOPPER", nonce: toHex(NONCE), evidence: toBase64(writeReport(leaf.privateKey)) };
  const one = { ...evidence, certificate: toBase64(utf8(device.pem)), driver_version: "580.1", version: "1.0" };
  const usual = JSON.stringify({ evidences: [one], result_code: 0, result_message: "Ok" });
  const attest = parts.attest ?? (() => usual);
  for (const name of ["gpu", "nvswitch"]) writeFileSync(join(folder, `${name}.json`), attest(name));
  const answers = Object.entries({ ...SMI, ...parts.smi }).map(([flag, line]) => `${flag}) echo '${line}';;`);
  return {
    nvattest: write(
      "nvattest",
      `[ "$1 $2 $4 $5" = "collect-evidence --device --nonce ${toHex(NONCE)}" ] || exit 9; cat ${folder}/$3.json`,
    ),
    nvidiaSmi: write("nvidia-smi", `[ "$1" = conf-compute ] || exit 9; case "$2" in ${answers.join(" ")} esac`),
  };
}

test("one document of GPUs and switches, with the guest's word, that the verifier reads", async (t) => {
  const collector = createDeviceCollector({ classes: ["gpu", "nvswitch"], ...programs(t) });
  const parsed = parseGpuEvidence(await collector.collect(NONCE));
  assert.equal(parsed.devices.length, 2);
  assert.deepEqual(parsed.ccState, { cc_feature: "ON", devtools_mode: "OFF", environment: "PRODUCTION" });
  const gpus = createDeviceCollector({ classes: ["gpu"], ...programs(t, { smi: { "-d": "DevTools Mode: ON" } }) });
  const alone = parseGpuEvidence(await gpus.collect(NONCE));
  assert.deepEqual([alone.devices.length, alone.ccState?.devtools_mode], [1, "ON"]);
});

test("a program that is absent, fails, or says something else gives no evidence", async (t) => {
  const none = programs(t);
  const cases: readonly (readonly [string, Parameters<typeof createDeviceCollector>[0], string])[] = [
    ["no nvattest", { classes: ["gpu"], ...none, nvattest: "/nowhere/nvattest" }, "COLLECT_UNAVAILABLE"],
    ["no nvidia-smi", { classes: ["gpu"], ...none, nvidiaSmi: "/nowhere/nvidia-smi" }, "COLLECT_UNAVAILABLE"],
    ["nvattest says no", { classes: ["gpu"], ...programs(t, { attest: () => '{"result_code":3}' }) }, "COLLECT_FAILED"],
    [
      "no device",
      { classes: ["gpu"], ...programs(t, { attest: () => '{"evidences":[],"result_code":0}' }) },
      "COLLECT_FAILED",
    ],
    [
      "no switch",
      {
        classes: ["gpu", "nvswitch"],
        ...programs(t, { attest: (name) => (name === "gpu" ? '{"evidences":[{}],"result_code":0}' : "{}") }),
      },
      "COLLECT_FAILED",
    ],
    [
      "a word that is none",
      { classes: ["gpu"], ...programs(t, { smi: { "-f": "CC status: ONLY" } }) },
      "COLLECT_FAILED",
    ],
    ["no word", { classes: ["gpu"], ...programs(t, { smi: { "-e": "" } }) }, "COLLECT_FAILED"],
    [
      "too much",
      { classes: ["gpu"], ...programs(t, { attest: () => `{"x":"${"y".repeat(1_100_000)}"}` }) },
      "COLLECT_FAILED",
    ],
  ];
  for (const [what, options, code] of cases)
    await t.test(what, () => assert.rejects(createDeviceCollector(options).collect(NONCE), failsWith(code)));
  const collector = createDeviceCollector({ classes: ["gpu"], ...none });
  await assert.rejects(collector.collect(NONCE.subarray(1)), failsWith("COLLECT_FAILED"));
});
