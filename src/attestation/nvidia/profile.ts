/** What is asked of NVIDIA devices: every exception to the secure default has its own name here. */
import { z } from "zod";
import { nvidiaArch } from "./evidence.ts";
import { NVIDIA_LIMITS } from "./limits.ts";

const version = z
  .string()
  .regex(/^[0-9]{1,5}(\.[0-9]{1,5}){1,4}$/)
  .max(32);
const vbios = z.string().regex(/^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$/);
const ueid = z.string().regex(/^[0-9]{1,64}$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().min(0).max(NVIDIA_LIMITS.devices);
const list = <T extends z.ZodType>(item: T) => z.array(item).min(1).max(1024);

export const nvidiaProfile = z.strictObject({
  archs: list(nvidiaArch).default(["HOPPER", "BLACKWELL", "LS10"]).describe("Architectures that are accepted"),
  gpu_count: count.min(1).optional().describe("How many GPUs the evidence must have, exactly"),
  switch_count: count.optional().describe("How many NVSwitches the evidence must have, exactly"),
  allow_absent_devices: z
    .boolean()
    .default(false)
    .describe("Release keys to a machine without evidence of devices too; policy then looks at attestation.devices"),
  allow_absent_switches: z
    .boolean()
    .default(false)
    .describe("Accept GPUs under protected PCIe without the evidence of the switches that they are linked to"),
  ueid_allow: list(ueid).optional().describe("Devices by ueid (decimal serial number of the leaf); absent: every one"),
  driver_min: version.optional().describe("Lowest driver version"),
  driver_allow: list(version)
    .optional()
    .describe("Driver versions that are accepted; absent: each that has a manifest"),
  vbios_allow: list(vbios).optional().describe("VBIOS versions that are accepted; absent: each that has a manifest"),
  vbios_min: vbios.optional().describe("Lowest VBIOS version, of versions that begin with the same two numbers"),
  cc_state: z
    .enum(["required", "if-present"])
    .default("required")
    .describe("The guest must state that confidential computing is on and developer tools are off"),
  allow_devtools: z.boolean().default(false).describe("Accept GPUs with developer tools, whose memory can be read"),
  cc_modes: list(z.enum(["SPT", "MPT", "PPCIE"]))
    .default(["SPT", "MPT", "PPCIE"])
    .describe("Modes that are accepted where the device states one: one GPU, many GPUs, protected PCIe"),
  require_rims: z.boolean().default(true).describe("Measurements must be compared with NVIDIA's manifests"),
  allow_expired_rim: z
    .boolean()
    .default(false)
    .describe("Accept a manifest whose signing certificate has expired since: firmware outlives the two years"),
  allow_absent_fwid: z
    .boolean()
    .default(false)
    .describe("Accept GPUs whose driver (545 and older) does not state the firmware's identity"),
  require_ocsp: z.boolean().default(true).describe("Every certificate below the root must have a fresh OCSP answer"),
  allow_certificate_hold: z.boolean().default(false).describe("Accept certificates that are on hold, not revoked"),
  ocsp_max_age_hours: z.number().positive().max(8760).default(168).describe("Oldest OCSP answer, in hours"),
  nras_anchors: z
    .array(sha256)
    .max(16)
    .optional()
    .describe("Certificates that the attestation service's keys must chain to, SHA-256 of their DER"),
});

export type NvidiaProfile = z.output<typeof nvidiaProfile>;
