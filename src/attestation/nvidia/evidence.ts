/** Evidence of NVIDIA GPUs and switches as the collectors write it: JSON with report and certificate chain per device. */
import { z } from "zod";
import { fromBase64, fromHex, fromUtf8, parseJson } from "../../base/index.ts";
import { type Certificate, parseCertificate, parsePem } from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import { ATTESTATION_LIMITS } from "../limits.ts";
import { NVIDIA_LIMITS } from "./limits.ts";
import { parseSpdmReport, type SpdmReport } from "./spdm.ts";

export const NVIDIA_KIND = "nvidia";

export const nvidiaArch = z.enum(["HOPPER", "BLACKWELL", "LS10"]);
export type NvidiaArch = z.output<typeof nvidiaArch>;

/** One device: what it is said to be, what it signed, and the chain of its key, leaf first. */
export interface GpuEvidence {
  readonly arch: NvidiaArch;
  readonly report: SpdmReport;
  readonly certificates: readonly [Certificate, ...Certificate[]];
}

/**
 * What the guest says of its GPUs (`nvidia-smi conf-compute -q`). It is worth as much as the guest's own measurement:
 * it has to arrive in evidence that the CPU's report covers.
 */
export const guestCcState = z.strictObject({
  cc_feature: z.enum(["ON", "OFF"]).describe("Confidential computing of the GPUs"),
  devtools_mode: z.enum(["ON", "OFF"]).describe("Developer tools, which open the protected memory"),
  environment: z.enum(["PRODUCTION", "SIM", "UNAVAILABLE"]).optional(),
});
export type GuestCcState = z.output<typeof guestCcState>;

export interface NvidiaEvidence {
  readonly devices: readonly GpuEvidence[];
  readonly ccState?: GuestCcState;
}

const text = z.string().max(256);
const entry = z.strictObject({
  arch: nvidiaArch,
  /** SPDM request and response, base64 or hex. */
  evidence: z.string().max(NVIDIA_LIMITS.reportBytes * 2),
  /** PEM, or base64 of it. */
  certificate: z.string().max(NVIDIA_LIMITS.chainBytes * 2),
  // What follows is nobody's word: signed values are in the report.
  nonce: text.optional(),
  uuid: text.nullish(),
  driver_version: text.nullish(),
  vbios_version: text.nullish(),
  version: text.optional(),
});
const entries = z.array(entry).min(1).max(NVIDIA_LIMITS.devices);

/** The Trustee form, the form of `nvattest collect-evidence`, and the bare list of NVIDIA's kit. */
const document = z.union([
  entries.transform((list) => ({ list, ccState: undefined })),
  z
    .strictObject({ device_evidence_list: entries, cc_state: guestCcState.optional() })
    .transform((value) => ({ list: value.device_evidence_list, ccState: value.cc_state })),
  z
    .strictObject({ evidences: entries, result_code: z.literal(0), result_message: text.optional() })
    .transform((value) => ({ list: value.evidences, ccState: undefined })),
]);

/** JSON of any of the three forms. Throws EVIDENCE_REFUSED `nvidia.evidence.format` or the rule of the broken part. */
export function parseGpuEvidence(data: Uint8Array): NvidiaEvidence {
  const parsed = document.safeParse(readJson(data));
  if (!parsed.success) throw evidenceRefused("nvidia.evidence.format", parsed.error);
  const { list, ccState } = parsed.data;
  const devices = list.map(({ arch, evidence, certificate }) =>
    makeGpuEvidence(arch, decodeText(evidence), decodeChain(certificate)),
  );
  return { devices, ...(ccState ? { ccState } : {}) };
}

/** From the raw report and the PEM chain, leaf first. Throws as parseGpuEvidence does. */
export function makeGpuEvidence(arch: NvidiaArch, report: Uint8Array, chainPem: string): GpuEvidence {
  return { arch, report: parseSpdmReport(report), certificates: parseChain(chainPem) };
}

function readJson(data: Uint8Array): unknown {
  try {
    return parseJson(data, { maxBytes: ATTESTATION_LIMITS.deviceEvidenceBytes, maxDepth: 8, what: "evidence" });
  } catch (error) {
    throw evidenceRefused("nvidia.evidence.format", error);
  }
}

function decodeText(encoded: string): Uint8Array {
  const bytes = fromHex(encoded) ?? fromBase64(encoded);
  if (!bytes) throw evidenceRefused("nvidia.evidence.format", new Error("neither base64 nor hex"));
  return bytes;
}

function decodeChain(encoded: string): string {
  if (encoded.includes("-----BEGIN ")) return encoded;
  try {
    return fromUtf8(decodeText(encoded));
  } catch (error) {
    throw evidenceRefused("nvidia.evidence.format", error);
  }
}

/** Collectors end the text with NULs, as the driver's C interface gives it. */
function parseChain(pem: string): GpuEvidence["certificates"] {
  try {
    const blocks = parsePem(pem.replace(/\0+$/, ""));
    if (blocks.length > NVIDIA_LIMITS.chainCertificates) throw new Error(`${blocks.length} certificates`);
    if (blocks.some(({ label }) => label !== "CERTIFICATE")) throw new Error("not only certificates");
    const [leaf, ...others] = blocks.map(({ der }) => parseCertificate(der));
    if (!leaf) throw new Error("no certificate");
    return [leaf, ...others];
  } catch (error) {
    throw evidenceRefused("nvidia.chain.format", error);
  }
}
