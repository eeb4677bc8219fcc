/** Reference values that somebody else signs, for example whoever builds the image: added to the profile's own lists. */
import { z } from "zod";
import { type ModelkeepError, parseJson, utf8 } from "../base/index.ts";
import { dssePae, dsseToJson, parseDsse } from "../codec/index.ts";
import { APPRAISAL_LIMITS } from "./appraisal-limits.ts";
import { type AppraisalProfile, profileName } from "./appraisal-profile.ts";
import { readYaml } from "./appraisal-yaml.ts";
import type { BundleKey, BundleSigner } from "./collateral/bundle.ts";
import { attestationError } from "./errors.ts";
import { sgxProfile } from "./sgx/profile.ts";
import { snpProfile } from "./snp/profile.ts";
import { tdxProfile } from "./tdx/profile.ts";

export const REFERENCE_TYPE = "application/vnd.modelkeep.reference-values+json";

const snpFields = { measurements: true, id_key_digests: true, author_key_digests: true, image_ids: true } as const;
const tdxFields = { mr_td: true, rtmr0: true, rtmr1: true, rtmr2: true, rtmr3: true, mr_seam: true } as const;
const sgxFields = { mr_enclaves: true, signers: true } as const;

/** Values only: a statement can name what is good and never loosen what a profile asks for. */
const sections = {
  snp: snpProfile.pick(snpFields).strict().optional(),
  tdx: tdxProfile.pick(tdxFields).strict().optional(),
  sgx: sgxProfile.pick(sgxFields).strict().optional(),
};
const DAY_MS = 24 * 3_600_000;

const statement = z
  .strictObject({
    version: z.literal(1),
    /** What it is about: a later statement of that name replaces this one. */
    name: profileName,
    issued_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    ...sections,
  })
  .refine(({ issued_at: from, expires_at: to }) => {
    const life = Date.parse(to) - Date.parse(from);
    return life > 0 && life <= APPRAISAL_LIMITS.referenceLifeDays * DAY_MS;
  }, "expires_at");

export type ReferenceValues = z.output<typeof statement>;

const written = z.strictObject(sections);

const invalid = (detail: string, cause?: unknown): ModelkeepError =>
  attestationError("REFERENCE_INVALID", { detail, ...(cause ? { cause } : {}) });

/** What people write before it is signed: YAML with the sections alone. Throws REFERENCE_INVALID with line and reason. */
export function parseReferenceFile(file: Uint8Array): z.output<typeof written> {
  return readYaml(file, written, (detail) => invalid(detail));
}

/** The DSSE envelope as JSON text. Throws REFERENCE_INVALID for another name or life. */
export async function signReferenceValues(values: ReferenceValues, signer: BundleSigner): Promise<string> {
  const parsed = statement.safeParse(values);
  if (!parsed.success) throw invalid(parsed.error.issues[0]?.path.join(".") || "expires_at", parsed.error);
  const payload = utf8(JSON.stringify(parsed.data));
  const signature = await signer.sign(dssePae(REFERENCE_TYPE, payload));
  const envelope = { payloadType: REFERENCE_TYPE, payload, signatures: [{ keyId: signer.keyId, signature }] };
  return `${JSON.stringify(dsseToJson(envelope))}\n`;
}

/** Throws REFERENCE_INVALID; nothing is read before a trusted key signed it. Whether it is still good: `isGoodAt`. */
export function openReferenceValues(text: Uint8Array, keys: readonly BundleKey[]): ReferenceValues {
  const { payloadType, payload, signatures } = readEnvelope(text);
  const signed = dssePae(payloadType, payload);
  const isTrusted = signatures.some(({ signature }) => keys.some((key) => key.verifies(signed, signature)));
  if (!isTrusted) throw invalid("no trusted key signed it");
  if (payloadType !== REFERENCE_TYPE) throw invalid("another type of content");
  const parsed = statement.safeParse(readPayload(payload));
  if (parsed.success) return parsed.data;
  throw invalid(parsed.error.issues[0]?.path.join(".") || "content", parsed.error);
}

/** `now` in milliseconds. */
export function isGoodAt({ issued_at: from, expires_at: to }: ReferenceValues, now: number): boolean {
  return Date.parse(from) <= now + APPRAISAL_LIMITS.referenceSkewMs && now < Date.parse(to);
}

function readEnvelope(text: Uint8Array) {
  try {
    return parseDsse(parseJson(text, { maxBytes: APPRAISAL_LIMITS.profileBytes, what: "statement" }) as object);
  } catch (error) {
    throw invalid("it is no DSSE envelope", error);
  }
}

function readPayload(payload: Uint8Array): unknown {
  try {
    return parseJson(payload, { maxBytes: APPRAISAL_LIMITS.profileBytes, what: "statement" });
  } catch (error) {
    throw invalid("content", error);
  }
}

/**
 * Each list becomes the profile's own and the statement's; a section that the profile does not have stays absent. Of a
 * statement that is not good at `now` the lists stay and its values do not: when it ends, nothing is looked at less.
 */
export function withReferenceValues(profile: AppraisalProfile, values: ReferenceValues, now: number): AppraisalProfile {
  const { snp, tdx, sgx } = profile;
  const good = isGoodAt(values, now);
  return {
    ...profile,
    ...(snp ? { snp: { ...snp, ...joined(snp, values.snp, good) } } : {}),
    ...(tdx ? { tdx: { ...tdx, ...joined(tdx, values.tdx, good) } } : {}),
    ...(sgx ? { sgx: { ...sgx, ...joined(sgx, values.sgx, good) } } : {}),
  };
}

function joined<Values extends object>(
  own: Partial<Values>,
  added: Values | undefined,
  good: boolean,
): Partial<Values> {
  const lists = Object.entries(added ?? {}).map(([name, list]) => {
    const known = (own as Readonly<Record<string, unknown>>)[name];
    return [name, [...(Array.isArray(known) ? known : []), ...(good && Array.isArray(list) ? list : [])]];
  });
  return Object.fromEntries(lists) as Partial<Values>;
}
