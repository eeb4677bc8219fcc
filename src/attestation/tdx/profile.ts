/** The TDX part of an appraisal profile: every field has a default that refuses. */
import { z } from "zod";
import { dcapFields, hexList, hexOf } from "../dcap/profile.ts";

export const tdxProfile = z.strictObject({
  tee: z.literal("tdx").default("tdx"),
  ...dcapFields,
  allow_debug: z.boolean().default(false).describe("Accepts a domain whose memory its host can read: development only"),
  allow_migratable: z.boolean().default(false).describe("Accepts a domain that may be moved to another machine"),
  allow_performance_counters: z
    .boolean()
    .default(false)
    .describe("Accepts a domain that its host may profile (PERFMON)"),
  require_sept_ve_disable: z
    .boolean()
    .default(true)
    .describe("Asks for SEPT_VE_DISABLE; domains under a paravisor, as on Azure, run without it"),
  additional_td_attributes: hexOf(8)
    .optional()
    .describe("Further bits of TDATTRIBUTES that may be set, as a little-endian mask"),
  allowed_xfam: hexOf(8)
    .optional()
    .describe("When set, the only bits of XFAM that may be set, as a little-endian mask"),
  mr_td: hexList(48).optional().describe("Accepted MRTD: the firmware as launched"),
  rtmr0: hexList(48).optional().describe("Accepted RTMR0: the firmware's configuration"),
  rtmr1: hexList(48).optional().describe("Accepted RTMR1: the boot loader and the kernel"),
  rtmr2: hexList(48).optional().describe("Accepted RTMR2: the kernel's command line and the first file system"),
  rtmr3: hexList(48).optional().describe("Accepted RTMR3: what the running system measured"),
  mr_seam: hexList(48).optional().describe("Accepted MRSEAM: the TDX module itself"),
  mr_config_id: hexList(48).optional().describe("Accepted MRCONFIGID: the digest of the initial data, zero padded"),
  mr_owner: hexList(48).optional().describe("Accepted MROWNER"),
  mr_owner_config: hexList(48).optional().describe("Accepted MROWNERCONFIG"),
  mr_service_td: hexList(48)
    .default([])
    .describe("Accepted MRSERVICETD; without it no service domain, which could migrate this one, may be bound"),
  event_payloads: z
    .record(z.string().max(256), z.array(z.string().regex(/^(?:[0-9a-f]{2})*$/)).max(256))
    .optional()
    .describe("Named events that the event log must have once, each with its accepted payloads in hex, as of dstack"),
});
export type TdxProfile = z.output<typeof tdxProfile>;
export type TdxProfileInput = z.input<typeof tdxProfile>;
