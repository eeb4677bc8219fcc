/** What Intel signs as JSON: TCB info (version 3) and the identity of a quoting enclave (version 2). */
import { z } from "zod";
import { fromHex, ModelkeepError, parseJson } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { keepRead } from "./kept.ts";
import { DCAP_LIMITS } from "./limits.ts";

const byte = z.number().int().min(0).max(255);
const word = z.number().int().min(0).max(65_535);

/** Hex of exactly so many bytes, in either case; lower case comes out. */
const hex = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-fA-F]{${bytes * 2}}$`))
    .transform((text) => text.toLowerCase());

/** An ISO 8601 time in UTC, as milliseconds since the epoch. */
const time = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  .transform((text, context) => {
    const value = Date.parse(text);
    if (Number.isNaN(value)) context.addIssue({ code: "custom", message: "no such time" });
    return value;
  });

export const PLATFORM_STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const;
export type PlatformStatus = (typeof PLATFORM_STATUSES)[number];

const MODULE_STATUSES = ["UpToDate", "OutOfDate", "Revoked"] as const;

const advisoryIDs = z.array(z.string().max(64)).max(DCAP_LIMITS.advisories).optional();

const svnLevel = z.object({
  tcb: z.object({ isvsvn: word }),
  tcbDate: time,
  tcbStatus: z.enum(MODULE_STATUSES),
  advisoryIDs,
});
export type SvnLevel = z.output<typeof svnLevel>;

const component = z.object({ svn: byte }).transform(({ svn }) => svn);
const components = z.array(component).length(16);

const sgxLevel = z.object({
  tcb: z.object({ sgxtcbcomponents: components, pcesvn: word }),
  tcbDate: time,
  tcbStatus: z.enum(PLATFORM_STATUSES),
  advisoryIDs,
});
const tdxLevel = sgxLevel.extend({
  tcb: z.object({ sgxtcbcomponents: components, pcesvn: word, tdxtcbcomponents: components }),
});
export type TcbLevel = z.output<typeof sgxLevel> & { readonly tcb: { readonly tdxtcbcomponents?: readonly number[] } };

const moduleSigner = z.object({ mrsigner: hex(48), attributes: hex(8), attributesMask: hex(8) });
const moduleIdentity = moduleSigner.extend({
  id: z.string().max(32),
  tcbLevels: z.array(svnLevel).min(1).max(DCAP_LIMITS.tcbLevels),
});
export type ModuleIdentity = z.output<typeof moduleIdentity>;

const tcbInfoCommon = z.object({
  version: z.literal(3),
  issueDate: time,
  nextUpdate: time,
  fmspc: hex(6),
  pceId: hex(2),
  tcbType: z.literal(0),
  tcbEvaluationDataNumber: z.number().int().min(0).max(1_000_000),
});
const sgxTcbInfo = tcbInfoCommon.extend({
  id: z.literal("SGX"),
  tcbLevels: z.array(sgxLevel).min(1).max(DCAP_LIMITS.tcbLevels),
});
const tdxTcbInfo = tcbInfoCommon.extend({
  id: z.literal("TDX"),
  tdxModule: moduleSigner,
  tdxModuleIdentities: z.array(moduleIdentity).max(DCAP_LIMITS.moduleIdentities).optional(),
  tcbLevels: z.array(tdxLevel).min(1).max(DCAP_LIMITS.tcbLevels),
});
const tcbInfoSchema = z.discriminatedUnion("id", [sgxTcbInfo, tdxTcbInfo]);
export type TcbInfo = z.output<typeof tcbInfoSchema>;
export type TdxTcbInfo = z.output<typeof tdxTcbInfo>;

const qeIdentitySchema = z.object({
  id: z.enum(["QE", "TD_QE"]),
  version: z.literal(2),
  issueDate: time,
  nextUpdate: time,
  tcbEvaluationDataNumber: z.number().int().min(0).max(1_000_000),
  miscselect: hex(4),
  miscselectMask: hex(4),
  attributes: hex(16),
  attributesMask: hex(16),
  mrsigner: hex(32),
  isvprodid: word,
  tcbLevels: z.array(svnLevel).min(1).max(DCAP_LIMITS.tcbLevels),
});
export type QeIdentity = z.output<typeof qeIdentitySchema>;

/** Throws EVIDENCE_REFUSED with `dcap.tcb-info.format`. */
export const readTcbInfo: (bytes: Uint8Array) => TcbInfo = keepRead((bytes: Uint8Array) =>
  read(bytes, tcbInfoSchema, "dcap.tcb-info.format"),
);

/** Throws EVIDENCE_REFUSED with `dcap.qe-identity.format`. */
export const readQeIdentity: (bytes: Uint8Array) => QeIdentity = keepRead((bytes: Uint8Array) =>
  read(bytes, qeIdentitySchema, "dcap.qe-identity.format"),
);

/** Strict JSON inside the limits: a key that comes twice would be read differently by others. */
export function readJson(input: Uint8Array | string, maxBytes: number, rule: string): unknown {
  try {
    return parseJson(input, { maxBytes, maxDepth: DCAP_LIMITS.documentDepth, what: rule });
  } catch (error) {
    if (error instanceof ModelkeepError) throw evidenceRefused(rule, error);
    throw error;
  }
}

/** Hex of exactly so many bytes; EVIDENCE_REFUSED with the rule otherwise. */
export function hexBytes(text: string, length: number, rule: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes?.length !== length) throw evidenceRefused(rule);
  return bytes;
}

function read<Schema extends z.ZodType>(bytes: Uint8Array, schema: Schema, rule: string): z.output<Schema> {
  const parsed = schema.safeParse(readJson(bytes, DCAP_LIMITS.documentBytes, rule));
  if (!parsed.success) throw evidenceRefused(rule, parsed.error);
  return parsed.data;
}
