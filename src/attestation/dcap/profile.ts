/** What the profiles of TDX and SGX share: which state of the platform and which age of collateral is good enough. */
import { z } from "zod";
import { TCB_STATUSES } from "./tcb.ts";

/** Hex of exactly so many bytes; lower case comes out. */
export const hexOf = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-fA-F]{${bytes * 2}}$`), `${bytes * 2} hex digits`)
    .transform((text) => text.toLowerCase());

const days = z.number().int().min(0).max(3_650);
const listOf = (bytes: number) => z.array(hexOf(bytes)).max(1_024);

export const hexList = listOf;

/** Fields of both profiles; the defaults refuse whatever Intel does not call up to date. */
export const dcapFields = {
  accepted_tcb_statuses: z
    .array(z.enum(TCB_STATUSES.filter((status) => status !== "Revoked" && status !== "NotSupported")))
    .min(1)
    .default(["UpToDate"])
    .describe("States of the platform that are accepted, in Intel's words; a revoked platform never is"),
  out_of_date_grace_days: days
    .default(0)
    .describe("Accepts an out-of-date platform so many days from the date of the level that it is at"),
  maximum_tcb_age_days: days.optional().describe("Refuses a platform whose level is older, whatever its state"),
  minimum_tcb_evaluation_data_number: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe("Refuses collateral of an older evaluation: somebody may replay one under which the platform was fine"),
  maximum_collateral_age_days: days
    .optional()
    .describe(
      "Refuses collateral that was issued longer ago; the root's revocation list, which is issued yearly, does not count",
    ),
  expired_collateral_grace_days: days
    .default(0)
    .describe("Accepts collateral so many days after its issuer promised a newer one, for machines without a network"),
  require_revocation_lists: z
    .boolean()
    .default(true)
    .describe("Without Intel's revocation lists the evidence is refused"),
  allowed_advisories: z
    .array(z.string().regex(/^INTEL-SA-\d{5}$/))
    .optional()
    .describe("When set, a platform that any other advisory speaks of is refused"),
  allowed_fmspcs: listOf(6).optional().describe("When set, the only platform families (FMSPC) that are accepted"),
  allowed_ppids: listOf(16).optional().describe("When set, the only machines (PPID) that are accepted"),
  refuse_trailing_bytes: z
    .boolean()
    .default(false)
    .describe("Refuses a quote that is followed by bytes that nothing signs; many clouds pad their quotes"),
} as const;

const dcapProfileSchema = z.strictObject(dcapFields);
export type DcapProfile = z.output<typeof dcapProfileSchema>;
