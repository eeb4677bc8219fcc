/** One device in the answer of the attestation service: every check that it reports must have passed, by name. */
import { z } from "zod";
import { equalBytes, fromHex, toHex, utf8 } from "../../base/index.ts";
import type { Rules } from "../verdict.ts";
import { archOfModel } from "./certificates.ts";
import { isCurrent } from "./nras-time.ts";
import type { NvidiaProfile } from "./profile.ts";
import { checkRequirements } from "./requirements.ts";

const common = z.looseObject({
  iss: z.string(),
  eat_nonce: z.string(),
  iat: z.number().int(),
  nbf: z.number().int(),
  exp: z.number().int(),
  measres: z.string(),
  secboot: z.boolean(),
  dbgstat: z.string(),
  ueid: z.string().max(128),
  hwmodel: z.string().max(128),
});

export interface NrasDevice {
  /** For example `GPU-0`. */
  readonly name: string;
  readonly kind: "gpu" | "switch";
  readonly ueid: string;
  readonly hardwareModel: string;
  readonly driverVersion?: string;
  readonly vbiosVersion?: string;
  readonly claims: Readonly<Record<string, unknown>> & z.output<typeof common>;
}

const REPORT_CHECKS = [
  "arch-check",
  "attestation-report-parsed",
  "attestation-report-nonce-match",
  "attestation-report-signature-verified",
] as const;
const GPU_CHECKS = [
  ...REPORT_CHECKS,
  "driver-rim-fetched",
  "driver-rim-schema-validated",
  "driver-rim-signature-verified",
  "driver-rim-version-match",
  "driver-rim-measurements-available",
  "vbios-rim-fetched",
  "vbios-rim-schema-validated",
  "vbios-rim-signature-verified",
  "vbios-rim-version-match",
  "vbios-rim-measurements-available",
  "vbios-index-no-conflict",
] as const;

/** Throws for claims that are not there or have another type. */
export function readNrasDevice(name: string, claims: Readonly<Record<string, unknown>>): NrasDevice {
  const kind = name.startsWith("GPU-") ? "gpu" : "switch";
  const read = common.parse(claims);
  const text = (key: string) => z.string().max(64).optional().parse(claims[`x-nvidia-${kind}-${key}`]);
  const driverVersion = text("driver-version");
  const vbiosVersion = text("vbios-version") ?? text("bios-version");
  return {
    ...{ name, kind, ueid: read.ueid, hardwareModel: read.hwmodel, claims: read },
    ...(driverVersion === undefined ? {} : { driverVersion }),
    ...(vbiosVersion === undefined ? {} : { vbiosVersion }),
  };
}

export interface NrasDeviceNeeds {
  readonly profile: NvidiaProfile;
  readonly now: number;
  readonly expectedNonce: Uint8Array;
  readonly issuer: string;
}

export function checkNrasDevice(rules: Rules, device: NrasDevice, needs: NrasDeviceNeeds): void {
  const { claims, name } = device;
  const answers = equalBytes(fromHex(claims.eat_nonce) ?? utf8(""), needs.expectedNonce);
  rules.check("nvidia.nras.device.token", claims.iss === needs.issuer && answers && isCurrent(claims, needs.now), {
    passed: `${name}: the same issuer and nonce, valid now`,
    failed: `${name}: another issuer or nonce, or not valid now`,
    have: `${claims.iss} ${claims.eat_nonce}`.slice(0, 200),
    need: `${needs.issuer} ${toHex(needs.expectedNonce)}`,
  });
  rules.check("nvidia.nras.device.debug", claims.secboot && claims.dbgstat === "disabled", {
    passed: `${name}: secure boot, no debugging`,
    failed: `${name}: without secure boot, or it can be debugged`,
    have: `secboot ${claims.secboot}, dbgstat ${claims.dbgstat}`.slice(0, 200),
    need: "secboot true, dbgstat disabled",
  });
  checkModel(rules, device, needs.profile);
  checkResults(rules, device, needs.profile);
  checkCertificates(rules, device, needs.profile);
  checkRequirements(rules, device, needs.profile);
}

/** The chip is of an architecture that is accepted, and is what the token's name says: only GPUs answer for drivers. */
function checkModel(rules: Rules, { name, kind, hardwareModel }: NrasDevice, { archs }: NvidiaProfile): void {
  const arch = archOfModel(hardwareModel);
  const fits = arch !== undefined && archs.includes(arch) && (arch === "LS10") === (kind === "switch");
  rules.check("nvidia.device.arch", fits, {
    passed: `${name}: of an architecture that is accepted`,
    failed: `${name}: of an architecture that the profile does not accept, or not what its name says`,
    have: hardwareModel,
    need: archs.join(" or "),
  });
}

function checkResults(rules: Rules, { name, kind, claims }: NrasDevice, profile: NvidiaProfile): void {
  const prefix = `x-nvidia-${kind}-`;
  const optional = profile.allow_absent_fwid || kind === "switch";
  const fwid = `${prefix}attestation-report-cert-chain-fwid-match`;
  const required = (kind === "gpu" ? GPU_CHECKS : REPORT_CHECKS).map((check) => prefix + check);
  const failed = [
    ...required.filter((key) => claims[key] !== true),
    ...Object.keys(claims).filter((key) => key.startsWith("x-nvidia-") && claims[key] === false),
    ...(claims[fwid] === true || (optional && (claims[fwid] ?? null) === null) ? [] : [fwid]),
  ];
  rules.check("nvidia.nras.device.checks", claims.measres === "success" && failed.length === 0, {
    passed: `${name}: the service's own checks passed`,
    failed: `${name}: a check of the service failed or is not there`,
    have: [`measres ${claims.measres}`, ...new Set(failed)].join(", ").slice(0, 300),
    need: "measres success",
  });
}

const chainClaim = z.looseObject({
  "x-nvidia-cert-status": z.string(),
  "x-nvidia-cert-ocsp-status": z.string(),
  "x-nvidia-cert-revocation-reason": z.string().nullish(),
});

function checkCertificates(rules: Rules, { name, kind, claims }: NrasDevice, profile: NvidiaProfile): void {
  const chains = Object.entries(claims).filter(([key]) => /^x-nvidia-.*cert-chain$/.test(key));
  const has = chains.some(([key]) => key === `x-nvidia-${kind}-attestation-report-cert-chain`);
  const bad = chains.filter(([, value]) => !isGoodChain(chainClaim.safeParse(value).data, profile));
  rules.check("nvidia.nras.device.certificates", has && bad.length === 0, {
    passed: `${name}: every certificate is valid and not revoked`,
    failed: `${name}: a certificate is not valid, revoked or on hold`,
    have: bad.map(([key]) => key).join(", ") || String(chains.length),
  });
}

function isGoodChain(chain: z.output<typeof chainClaim> | undefined, profile: NvidiaProfile): boolean {
  if (chain?.["x-nvidia-cert-status"] !== "valid") return false;
  const reason = chain["x-nvidia-cert-revocation-reason"]?.toLowerCase().replaceAll(/[^a-z]/g, "");
  if (chain["x-nvidia-cert-ocsp-status"] === "good") return reason === undefined;
  return profile.allow_certificate_hold && reason === "certificatehold";
}
