/** Judges one GPU or switch: a pure function of its evidence, NVIDIA's manifests and answers, the profile and the time. */
import { equalBytes, toHex } from "../../base/index.ts";
import { type OcspResponse, verifyRawEcdsa } from "../../codec/index.ts";
import { refusedRule } from "../errors.ts";
import { Rules, type Verdict } from "../verdict.ts";
import { NVIDIA_DEVICE_ANCHORS, NVIDIA_RIM_ANCHORS } from "./anchors.ts";
import type { NvidiaCache } from "./cache.ts";
import { checkCcMode, checkCcState } from "./cc-state.ts";
import { checkArch, checkDeviceChain, hardwareModel, pdiOf, readFwid, ueidOf } from "./certificates.ts";
import type { FwidClaim, GpuClaims } from "./claims.ts";
import type { GpuEvidence, GuestCcState } from "./evidence.ts";
import type { NvidiaProfile } from "./profile.ts";
import { checkRequirements } from "./requirements.ts";
import { checkRevocation, type OcspAnswers, parseOcspAnswers, type RevocationFacts } from "./revocation.ts";
import { checkRims, type RimFacts } from "./rim-rules.ts";
import { rimIds } from "./versions.ts";

export interface GpuInput {
  readonly evidence: GpuEvidence;
  /** Manifests, XML; those of other versions are passed over. */
  readonly rims: readonly Uint8Array[];
  /** OCSP responses in any order, DER or read before; about the device's chain and the manifests' signers. */
  readonly ocsp: readonly (Uint8Array | OcspResponse)[];
  readonly profile: NvidiaProfile;
  /** Milliseconds. */
  readonly now: number;
  /** 32 bytes. */
  readonly expectedNonce: Uint8Array;
  /** What the measured guest says of its GPUs. */
  readonly ccState?: GuestCcState;
  readonly cache?: NvidiaCache;
  /** Other pins than NVIDIA's, SHA-256 of DER, hex. */
  readonly anchors?: { readonly device: readonly string[]; readonly rim: readonly string[] };
}

/** Never throws for what a device or a collector sent: the verdict names every rule. */
export function verifyGpu(input: GpuInput): Verdict<GpuClaims> {
  const { evidence, profile, now } = input;
  const anchors = input.anchors ?? { device: NVIDIA_DEVICE_ANCHORS, rim: NVIDIA_RIM_ANCHORS };
  const rules = new Rules();
  const { certificates } = evidence;
  const path = checkDeviceChain(rules, { certificates, anchors: anchors.device, now, cache: input.cache });
  const device = { ...evidence, certificates: path ?? certificates };
  checkArch(rules, device, profile.archs);
  checkSignature(rules, device);
  checkNonce(rules, device, input.expectedNonce);
  checkPdi(rules, device);
  const fwid = checkFwid(rules, device, profile);
  const answers = readAnswers(rules, input.ocsp);
  const rule = "nvidia.device.revocation";
  const revocation = checkRevocation(rules, { rule, path, firstRequired: 1, answers, profile, now });
  checkState(rules, device, input);
  const rims = checkRims(rules, { ...input, evidence: device, answers, anchors: anchors.rim });
  const claims = makeClaims(device, { fwid, revocation, rims });
  checkRequirements(rules, claims, profile);
  const collateral = oldest(revocation, rims);
  return { verdict: rules.verdict, rules: rules.list, advisories: [], claims, ...(collateral ? { collateral } : {}) };
}

function readAnswers(rules: Rules, ocsp: GpuInput["ocsp"]): OcspAnswers {
  try {
    return parseOcspAnswers(ocsp);
  } catch (error) {
    const rule = refusedRule(error);
    if (rule === undefined) throw error;
    rules.fail(rule, "an OCSP response cannot be read, or there are too many");
    return [];
  }
}

/** ECDSA on P-384 with SHA-384 over request and response, r and s big-endian. */
function checkSignature(rules: Rules, { report, certificates: [leaf] }: GpuEvidence): void {
  const key = leaf?.publicKey;
  const holds =
    key?.asymmetricKeyDetails?.namedCurve === "secp384r1" &&
    verifyRawEcdsa("sha384", report.signed, key, report.signature);
  rules.check("nvidia.report.signature", holds, {
    passed: "the device's key signed the report",
    failed: "the report was changed, or another device signed it",
  });
}

function checkNonce(rules: Rules, { report }: GpuEvidence, expected: Uint8Array): void {
  rules.check("nvidia.report.nonce", equalBytes(report.nonce, expected), {
    passed: "the report answers this nonce",
    failed: "the report answers another nonce: it was made for somebody else or earlier",
    have: toHex(report.nonce),
    need: toHex(expected),
  });
}

/** A switch says in its report which one it is, and the chip's certificate says it too. */
function checkPdi(rules: Rules, device: GpuEvidence): void {
  if (device.arch !== "LS10") return;
  const { switchPdis } = device.report.opaque;
  const pdi = pdiOf(device);
  rules.check("nvidia.device.pdi", switchPdis.length === 1 && switchPdis[0] === pdi, {
    passed: "report and certificate are of the same switch",
    failed: "the report is of another switch than the certificate",
    have: switchPdis.join(", ").slice(0, 200),
    need: pdi ?? "an identity in the certificate",
  });
}

function checkFwid(rules: Rules, device: GpuEvidence, profile: NvidiaProfile): FwidClaim {
  const fwid = readFwid(device);
  if (fwid === "absent" && (device.arch === "LS10" || profile.allow_absent_fwid)) {
    rules.skip("nvidia.device.fwid", "the report does not state the firmware's identity", { have: fwid });
    return fwid;
  }
  rules.check("nvidia.device.fwid", fwid === "match", {
    passed: "the firmware is the one that the chip certified",
    failed:
      fwid === "absent" ? "the report does not state the firmware's identity: update the driver" : "other firmware",
    have: fwid,
    need: "match",
  });
  return fwid;
}

/** Switches have no mode of their own. */
function checkState(rules: Rules, { arch, report: { opaque } }: GpuEvidence, input: GpuInput): void {
  if (arch === "LS10") return;
  checkCcMode(rules, opaque.ccMode, opaque.protectedPcie, input.profile);
  checkCcState(rules, input.ccState, input.profile);
}

interface Findings {
  readonly fwid: FwidClaim;
  readonly revocation: RevocationFacts;
  readonly rims: RimFacts;
}

function makeClaims(device: GpuEvidence, { fwid, revocation, rims }: Findings): GpuClaims {
  const { report, arch } = device;
  const { driverVersion, vbiosVersion, ccMode, protectedPcie, switchPdis, gpuPdis } = report.opaque;
  const pdi = pdiOf(device);
  return {
    ...{ kind: arch === "LS10" ? "switch" : "gpu", arch, fwid, gpuPdis },
    switchPdis: arch === "LS10" ? switchPdis : switchPdis.map(reverseHex),
    hardwareModel: hardwareModel(device),
    ueid: ueidOf(device),
    nonce: toHex(report.nonce),
    rimIds: rimIds(arch, report.opaque),
    revocation: revocation.status,
    comparedMeasurements: rims.compared,
    measurements: new Map([...report.measurements].map(([index, value]) => [index, toHex(value)])),
    ...(pdi === undefined ? {} : { pdi }),
    ...(driverVersion === undefined ? {} : { driverVersion }),
    ...(vbiosVersion === undefined ? {} : { vbiosVersion }),
    ...(ccMode === undefined ? {} : { ccMode }),
    ...(protectedPcie === undefined ? {} : { protectedPcie }),
  };
}

/** Manifests are as good as the dates of their signers, which they say; answers about revocation say their own. */
function oldest(revocation: RevocationFacts, rims: RimFacts): Verdict<GpuClaims>["collateral"] {
  const all = [revocation.collateral, rims.collateral].filter((one) => one !== undefined);
  if (all.length === 0) return undefined;
  const issuedAt = Math.min(...all.map((one) => one.issuedAt));
  return { issuedAt, nextUpdateAt: Math.min(...all.map((one) => one.nextUpdateAt)) };
}

/** GPUs write the identities of their switches in the other order of bytes than certificates and switches do. */
function reverseHex(hex: string): string {
  return (hex.match(/../g) ?? []).reverse().join("");
}
