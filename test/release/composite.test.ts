/** A key for a trust domain and its GPUs as one machine, over the wire and against a server process: whole, and in every wrong way. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { DeviceCollector, EvidenceCollector } from "../../src/attestation/index.ts";
import { ModelkeepError, toBase64Url } from "../../src/base/index.ts";
import * as contract from "../../src/contract/index.ts";
import { deviceNonceOf, digestDevices, reportDataOf, requestPackageKey } from "../../src/release/index.ts";
import { packageKeyOf } from "../loader/support.ts";
import { ANCHORS, collateralFiles, devicesDocument, devicesOf, domain, makeMachine } from "./support/machine.ts";
import { REF, type Served, serveModel } from "./support/serve.ts";

const PROFILE = `
name: gpus
tdx: {}
nvidia:
  gpu_count: 2
  switch_count: 1
  require_ocsp: false
`;
const CONDITION =
  'context.attestation.kind == "tdx" && context.attestation has devices && context.attestation.devices.gpus == 2 && context.attestation.devices.switches == 1';

const serve = (t: TestContext, profile = PROFILE, condition = CONDITION) =>
  serveModel(t, { profile, condition, collateral: collateralFiles(Date.now()), anchors: ANCHORS });

interface Asking {
  readonly devices?: DeviceCollector;
  readonly collector?: EvidenceCollector;
  readonly api?: contract.ApiClient;
}

const ask = ({ workload, fixture }: Served, { devices, collector = domain, api = workload }: Asking) =>
  requestPackageKey({
    ...{ api, collector, model: REF, packageId: fixture.sealed.packageId },
    ...(devices ? { devices } : {}),
  });

const refusedBy = (rule: string) => (error: unknown) => {
  assert.ok(error instanceof ModelkeepError, String(error));
  assert.deepEqual([error.code, error.detail], ["KEY_NOT_GRANTED", rule]);
  return true;
};

/** Changes what goes over the wire, after it was collected and bound. */
const changing = (served: Served, change: (evidence: { data: string; devices?: string }) => object) => ({
  ...served.workload,
  call: (async (route: contract.Route, input: { body: { evidence: { data: string; devices?: string } } }) =>
    served.workload.call(
      route,
      (route.id === "releaseKey"
        ? { ...input, body: { ...input.body, evidence: change(input.body.evidence) } }
        : input) as never,
    )) as contract.ApiClient["call"],
});

test("a processor with its GPUs and switch gets the key, and the record says which they were", async (t) => {
  const served = await serve(t);
  const machine = makeMachine();
  const key = await ask(served, { devices: devicesOf(machine) });
  const right = await packageKeyOf(served.fixture);
  assert.deepEqual(
    key.use((bytes) => Buffer.from(bytes).toString("hex")),
    right.use((bytes) => Buffer.from(bytes).toString("hex")),
  );
  key.wipe();
  right.wipe();
  const { entries } = await served.admin.call(contract.listAudit, { body: { action: "key.release" } as never });
  const [last] = entries as unknown as { data: { devices: string; ueids: string }; outcome: string }[];
  assert.equal(last?.outcome, "allowed");
  assert.match(String(last?.data.devices), /^[0-9a-f]{96}$/);
  assert.equal(last?.data.ueids.split(" ").length, 3);
});

test("refused: a device missing, one too many, twice, of another machine, and none at all", async (t) => {
  const served = await serve(t);
  const machine = makeMachine();
  const [first, second, nvswitch] = machine.devices;
  const stranger = makeMachine().devices[0];
  assert.ok(first && second && nvswitch && stranger);
  const cases: readonly (readonly [string, string, DeviceCollector | undefined])[] = [
    ["no GPU where two are asked for", "nvidia.devices.missing", undefined],
    ["one GPU", "nvidia.devices.gpu-count", devicesOf(machine, { members: [first, nvswitch] })],
    ["one GPU twice", "nvidia.devices.unique", devicesOf(machine, { members: [first, first, nvswitch] })],
    ["no switch", "nvidia.devices.switch-count", devicesOf(machine, { members: [first, second] })],
    ["a third GPU", "nvidia.devices.gpu-count", devicesOf(machine, { members: [...machine.devices, stranger] })],
    [
      "a GPU of another machine",
      "nvidia.devices.topology",
      devicesOf(machine, { members: [first, stranger, nvswitch] }),
    ],
    ["an old nonce", "nvidia.devices.nonce", devicesOf(machine, { nonce: new Uint8Array(32).fill(1) })],
    ["developer tools", "nvidia.devtools", devicesOf(machine, { ccState: { cc_feature: "ON", devtools_mode: "ON" } })],
    [
      "confidential computing off",
      "nvidia.cc-state",
      devicesOf(machine, { ccState: { cc_feature: "OFF", devtools_mode: "OFF" } }),
    ],
    ["no list", "nvidia.evidence.format", { collect: async () => Buffer.from("{}") }],
  ];
  for (const [what, rule, devices] of cases) {
    await t.test(what, () => assert.rejects(ask(served, devices ? { devices } : {}), refusedBy(rule)));
  }
});

test("refused: evidence of devices that the processor's report does not cover", async (t) => {
  const served = await serve(t);
  const machine = makeMachine();
  const other = makeMachine();
  let nonce = new Uint8Array();
  const watching: DeviceCollector = {
    collect: async (asked) => {
      nonce = asked.slice();
      return devicesDocument(machine, asked);
    },
  };
  const swapped = changing(served, ({ data }) => ({
    kind: "tdx",
    data,
    devices: toBase64Url(devicesDocument(other, nonce)),
  }));
  await assert.rejects(ask(served, { devices: watching, api: swapped }), refusedBy("dcap.report-data"), "swapped");
  const dropped = changing(served, ({ data }) => ({ kind: "tdx", data }));
  await assert.rejects(
    ask(served, { devices: watching, api: dropped }),
    refusedBy("nvidia.devices.missing"),
    "dropped",
  );
  const added = changing(served, ({ data }) => ({
    kind: "tdx",
    data,
    devices: toBase64Url(devicesDocument(machine, nonce)),
  }));
  await assert.rejects(ask(served, { api: added }), refusedBy("dcap.report-data"), "added");
  const empty = changing(served, ({ data }) => ({ kind: "tdx", data, devices: "A" }));
  await assert.rejects(ask(served, { devices: watching, api: empty }), refusedBy("evidence.format"), "no base64url");
});

test("refused: a whole machine's answer to the challenge of another release", async (t) => {
  const served = await serve(t);
  const machine = makeMachine();
  const kept: Uint8Array[] = [];
  const devices: DeviceCollector = {
    collect: async (nonce) => {
      kept.push(devicesDocument(machine, nonce));
      return kept[0] ?? new Uint8Array();
    },
  };
  (await ask(served, { devices })).wipe();
  await assert.rejects(ask(served, { devices }), refusedBy("nvidia.devices.nonce"), "reused evidence of devices");
  const quotes: Awaited<ReturnType<EvidenceCollector["collect"]>>[] = [];
  const collector: EvidenceCollector = {
    kind: "tdx",
    collect: async (reportData) => {
      quotes.push(await domain.collect(reportData));
      return quotes[0] ?? domain.collect(reportData);
    },
  };
  (await ask(served, { devices: devicesOf(machine), collector })).wipe();
  await assert.rejects(ask(served, { devices: devicesOf(machine), collector }), refusedBy("dcap.report-data"));
});

test("where the profile allows it a machine without devices is for policy to judge; without a section none are taken", async (t) => {
  const loose = `${PROFILE}  allow_absent_devices: true\n`;
  const served = await serve(
    t,
    loose,
    'if context.attestation has devices then context.attestation.devices.measurement == "x" else true',
  );
  (await ask(served, {})).wipe();
  const refused = refusedBy("policy.not-permitted");
  await assert.rejects(ask(served, { devices: devicesOf(makeMachine()) }), refused, "of devices policy wants others");
  const without = await serve(t, "tdx: {}\n", "true");
  (await ask(without, {})).wipe();
  await assert.rejects(ask(without, { devices: devicesOf(makeMachine()) }), refusedBy("nvidia.devices.unasked"));
});

test("the nonce of devices and the report data of the processor never stand for one another", () => {
  const binding = { nonce: "A".repeat(43), publicKey: "B".repeat(87), model: REF };
  const nonce = deviceNonceOf(binding);
  assert.equal(nonce.length, 32);
  assert.notDeepEqual(nonce, reportDataOf(binding).slice(0, 32));
  const all = [
    binding,
    { ...binding, nonce: "C".repeat(43) },
    { ...binding, publicKey: "C".repeat(87) },
    { ...binding, model: "tiny@2" },
  ];
  assert.equal(new Set(all.map((one) => toBase64Url(deviceNonceOf(one)))).size, all.length);
  const covered = [
    binding,
    ...[new Uint8Array(), new Uint8Array(1)].map((x) => ({ ...binding, devices: digestDevices(x) })),
  ];
  assert.equal(new Set(covered.map((one) => toBase64Url(reportDataOf(one)))).size, covered.length);
  assert.deepEqual(deviceNonceOf({ ...binding, devices: "ff" }), nonce, "it is asked for before there is evidence");
});
