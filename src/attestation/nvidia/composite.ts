/** A CPU and its GPUs judged as one machine: one nonce, every device once, as many as asked for, linked to each other. */
import { equalBytes, fromHex, utf8 } from "../../base/index.ts";
import { Rules, type Verdict } from "../verdict.ts";
import type { GpuClaims } from "./claims.ts";
import type { NvidiaProfile } from "./profile.ts";

export interface CompositeInput<Cpu> {
  /** The verdict on the CPU; its verifier has checked that the report binds the same nonce. */
  readonly cpu: Verdict<Cpu>;
  readonly devices: readonly Verdict<GpuClaims>[];
  /** 32 bytes. */
  readonly nonce: Uint8Array;
  readonly profile: NvidiaProfile;
}

export interface CompositeClaims<Cpu> {
  readonly cpu?: Cpu;
  readonly devices: readonly GpuClaims[];
}

/**
 * Pure. A device's report does not say in which machine it is: what holds the set together is the nonce, the count, the
 * list of devices, and the CPU's report over the evidence of the devices.
 */
export function verifyComposite<Cpu>(input: CompositeInput<Cpu>): Verdict<CompositeClaims<Cpu>> {
  const { cpu, devices, nonce, profile } = input;
  const rules = new Rules();
  rules.check("nvidia.composite.cpu", cpu.verdict === "accepted", {
    passed: "the CPU's evidence is accepted",
    failed: "the CPU's evidence is refused: GPUs prove nothing about the machine around them",
  });
  const refused = devices.filter(({ verdict }) => verdict !== "accepted").length;
  rules.check("nvidia.composite.devices", devices.length > 0 && refused === 0, {
    passed: "every device is accepted",
    failed: devices.length === 0 ? "there is no device" : "a device is refused",
    have: `${refused} of ${devices.length} refused`,
  });
  const claims = devices.flatMap((device) => device.claims ?? []);
  checkDeviceSet(rules, claims, nonce, profile);
  return {
    verdict: rules.verdict,
    rules: [...rules.list, ...cpu.rules, ...devices.flatMap((device) => device.rules)],
    advisories: [...new Set([cpu, ...devices].flatMap(({ advisories }) => advisories))],
    ...(cpu.tcbStatus === undefined ? {} : { tcbStatus: cpu.tcbStatus }),
    ...oldestCollateral([cpu, ...devices]),
    claims: { devices: claims, ...(cpu.claims === undefined ? {} : { cpu: cpu.claims }) },
  };
}

/** The rules over a set of devices alone; used where the CPU is judged elsewhere. */
export function checkDeviceSet(
  rules: Rules,
  devices: readonly GpuClaims[],
  nonce: Uint8Array,
  profile: NvidiaProfile,
): void {
  const fresh = devices.filter((device) => equalBytes(fromHex(device.nonce) ?? utf8(""), nonce));
  rules.check("nvidia.devices.nonce", fresh.length === devices.length, {
    passed: "every device signed this nonce",
    failed: "a device signed another nonce",
    have: `${fresh.length} of ${devices.length}`,
  });
  const unique = areDistinct(devices.map(({ ueid }) => ueid)) && areDistinct(devices.flatMap(({ pdi }) => pdi ?? []));
  rules.check("nvidia.devices.unique", unique, {
    passed: "every device is there once",
    failed: "one device stands for two",
  });
  checkCount(rules, "gpu", devices, profile.gpu_count);
  checkCount(rules, "switch", devices, profile.switch_count);
  checkTopology(rules, devices, profile);
}

function areDistinct(ids: readonly string[]): boolean {
  return new Set(ids).size === ids.length;
}

function checkCount(rules: Rules, kind: "gpu" | "switch", devices: readonly GpuClaims[], need: number | undefined) {
  const have = devices.filter((device) => device.kind === kind).length;
  const rule = `nvidia.devices.${kind}-count`;
  if (need === undefined) {
    rules.skip(rule, `the profile does not say how many there must be: ${kind}_count`, { have: String(have) });
    return;
  }
  rules.check(rule, have === need, {
    passed: "as many as asked for",
    failed: `another number than ${kind}_count says`,
    have: String(have),
    need: String(need),
  });
}

/** GPUs sign which switches they are linked to and switches which GPUs: with both at hand, they must fit. */
function checkTopology(rules: Rules, devices: readonly GpuClaims[], profile: NvidiaProfile): void {
  const switches = devices.filter(({ kind }) => kind === "switch");
  const gpus = devices.filter(({ kind }) => kind === "gpu");
  if (switches.length === 0) checkWithoutSwitches(rules, gpus, profile);
  if (switches.length === 0 || gpus.length === 0) return;
  const ofSwitches = new Set(switches.flatMap(({ switchPdis }) => switchPdis));
  const strange = gpus.filter(({ switchPdis }) => !switchPdis.every((pdi) => ofSwitches.has(pdi)));
  const unlinked = gpus.filter(
    ({ pdi }) => !switches.every(({ gpuPdis }) => pdi !== undefined && gpuPdis.includes(pdi)),
  );
  rules.check("nvidia.devices.topology", strange.length === 0 && unlinked.length === 0, {
    passed: "GPUs and switches name each other",
    failed: "a GPU is linked to a switch that is not here, or a switch does not know a GPU",
    have: `${strange.length} GPUs with other switches, ${unlinked.length} unknown to a switch`,
  });
}

/** Under protected PCIe the links between GPUs are open to the switches, which so belong to what must be attested. */
function checkWithoutSwitches(rules: Rules, gpus: readonly GpuClaims[], profile: NvidiaProfile): void {
  const isOpen = ({ ccMode, protectedPcie }: GpuClaims) => ccMode === "PPCIE" || protectedPcie === "on";
  const linked = gpus.filter((gpu) => isOpen(gpu) && gpu.switchPdis.length > 0);
  if (linked.length === 0) return;
  rules.check("nvidia.devices.topology", profile.allow_absent_switches || profile.switch_count === 0, {
    passed: "GPUs are linked to switches that are not here, which the profile accepts",
    failed: "GPUs are linked to switches that are not here: collect their evidence too, or set allow_absent_switches",
    have: `${linked.length} GPUs with switches`,
  });
}

export function oldestCollateral(verdicts: readonly Verdict<unknown>[]): Pick<Verdict<unknown>, "collateral"> {
  const all = verdicts.flatMap(({ collateral }) => collateral ?? []);
  if (all.length === 0) return {};
  const issuedAt = Math.min(...all.map((collateral) => collateral.issuedAt));
  return { collateral: { issuedAt, nextUpdateAt: Math.min(...all.map(({ nextUpdateAt }) => nextUpdateAt)) } };
}
