/** Machines of test authorities: a trust domain with GPUs and a switch that are linked to each other, and who collects from it. */
import { randomBytes } from "node:crypto";
import type { DeviceCollector, EvidenceCollector } from "../../../src/attestation/index.ts";
import { concatBytes, fromHex, toBase64, toHex, utf8 } from "../../../src/base/index.ts";
import {
  collateralJson,
  DAY,
  anchors as intelAnchors,
  writeDomain,
  writeQuote,
} from "../../attestation/support/dcap.ts";
import {
  CC_ON,
  type Device,
  golden,
  makeDevice,
  makeDeviceRoot,
  makeRim,
  makeRimSigner,
  writeReport,
} from "../../attestation/support/nvidia.ts";
import { name } from "../../support/der-writer.ts";

export interface MachineDevice {
  readonly device: Device;
  readonly kind: "gpu" | "switch";
  /** Hex of eight bytes. */
  readonly pdi: string;
}

export interface Machine {
  readonly devices: readonly MachineDevice[];
}

const root = makeDeviceRoot();
const rimSigner = makeRimSigner();
const active = (from: number, to: number) =>
  new Map(Array.from({ length: to - from }, (_, i) => [from + i, [golden(from + i)]] as const));

export const RIMS = [
  makeRim({ version: "580.1", active: active(0, 20) }, rimSigner),
  makeRim({ version: "96.00.74.00.20", active: active(20, 35) }, rimSigner),
  makeRim({ version: "96.10.5F.00.01", product: "LS10", active: active(0, 20) }, rimSigner),
];

export const ANCHORS = {
  intel: intelAnchors,
  nvidia: {
    device: [makeDevice({ root }).anchor],
    rim: [rimSigner.anchor],
  },
};

/** What the vendors say of it today, as files. */
export function collateralFiles(now: number): ReadonlyMap<string, Uint8Array> {
  const intel = collateralJson({ issuedAt: now - DAY, nextUpdateAt: now + 29 * DAY });
  const rims = RIMS.map((xml, i) => [`rim-${i}.xml`, xml] as const);
  return new Map([["intel.json", utf8(JSON.stringify(intel))], ...rims]);
}

function makeMember(kind: "gpu" | "switch"): MachineDevice {
  const pdi = toHex(randomBytes(8));
  const model = kind === "gpu" ? "GH100 A01 GSP" : "LS_10 A01";
  const serial = `41${pdi.toUpperCase()}`;
  const subject = name(["2.5.4.5", serial], ["2.5.4.10", "NVIDIA Corporation"], ["2.5.4.3", `${model} BROM`]);
  return { kind, pdi, device: makeDevice({ root, model, chip: { subject } }) };
}

export function makeMachine(gpus = 2, switches = 1): Machine {
  const make = (kind: "gpu" | "switch", count: number) => Array.from({ length: count }, () => makeMember(kind));
  return { devices: [...make("gpu", gpus), ...make("switch", switches)] };
}

const bytes = (pdi: string) => fromHex(pdi) ?? new Uint8Array();
const PPCIE_ON = Uint8Array.of(0xaa);

/** What a device of the machine signs when it is asked with this nonce. */
export function reportOf(machine: Machine, member: MachineDevice, nonce: Uint8Array): Uint8Array {
  const of = (kind: "gpu" | "switch") => machine.devices.filter((one) => one.kind === kind).map(({ pdi }) => pdi);
  const switches = of("switch");
  const links =
    member.kind === "gpu"
      ? [
          [21, switches.length > 0 ? PPCIE_ON : Uint8Array.of(0x55)],
          [22, concatBytes(...switches.map((pdi) => bytes(pdi).toReversed()))],
          [36, Uint8Array.of(switches.length > 0 ? 2 : 0, 0)],
        ]
      : [
          [3, undefined],
          [6, utf8("96.10.5F.00.01\0")],
          [20, undefined],
          [22, bytes(member.pdi)],
          [32, undefined],
          [33, undefined],
          [36, undefined],
          [26, concatBytes(...of("gpu").map(bytes))],
        ];
  const [leaf] = member.device.parties;
  return writeReport(leaf.privateKey, { nonce, fields: new Map(links as [number, Uint8Array | undefined][]) });
}

export interface Shown {
  readonly members?: readonly MachineDevice[];
  readonly nonce?: Uint8Array;
  readonly ccState?: object;
}

/** The document of the machine's devices. */
export function devicesDocument(machine: Machine, nonce: Uint8Array, shown: Shown = {}): Uint8Array {
  const list = (shown.members ?? machine.devices).map((member) => ({
    arch: member.kind === "gpu" ? "HOPPER" : "LS10",
    evidence: toBase64(reportOf(machine, member, shown.nonce ?? nonce)),
    certificate: toBase64(utf8(member.device.pem)),
  }));
  return utf8(JSON.stringify({ device_evidence_list: list, cc_state: shown.ccState ?? CC_ON }));
}

export const devicesOf = (machine: Machine, shown: Shown = {}): DeviceCollector => ({
  collect: async (nonce) => devicesDocument(machine, nonce, shown),
});

/** The trust domain around the devices. */
export const domain: EvidenceCollector = {
  kind: "tdx",
  collect: async (reportData) => ({ kind: "tdx", data: writeQuote({ body: writeDomain({ reportData }) }) }),
};
