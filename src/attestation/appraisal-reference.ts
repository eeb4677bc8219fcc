/** Reference values that somebody else signs, for example whoever builds the image: added to the profile's own lists. */
import { z } from "zod";
import { type ModelkeepError, parseJson, utf8 } from "../base/index.ts";
import { dssePae, dsseToJson, parseDsse } from "../codec/index.ts";
import { APPRAISAL_LIMITS } from "./appraisal-limits.ts";
import type { AppraisalProfile } from "./appraisal-profile.ts";
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
const referenceValues = z.strictObject({
  version: z.literal(1),
  snp: snpProfile.pick(snpFields).strict().optional(),
  tdx: tdxProfile.pick(tdxFields).strict().optional(),
  sgx: sgxProfile.pick(sgxFields).strict().optional(),
});

export type ReferenceValues = z.output<typeof referenceValues>;

const invalid = (detail: string, cause?: unknown): ModelkeepError =>
  attestationError("REFERENCE_INVALID", { detail, ...(cause ? { cause } : {}) });

/** The DSSE envelope as JSON text. */
export async function signReferenceValues(values: ReferenceValues, signer: BundleSigner): Promise<string> {
  const payload = utf8(JSON.stringify(referenceValues.parse(values)));
  const signature = await signer.sign(dssePae(REFERENCE_TYPE, payload));
  const envelope = { payloadType: REFERENCE_TYPE, payload, signatures: [{ keyId: signer.keyId, signature }] };
  return `${JSON.stringify(dsseToJson(envelope))}\n`;
}

/** Throws REFERENCE_INVALID; nothing is read before a trusted key signed it. */
export function openReferenceValues(text: Uint8Array, keys: readonly BundleKey[]): ReferenceValues {
  const { payloadType, payload, signatures } = readEnvelope(text);
  const signed = dssePae(payloadType, payload);
  const isTrusted = signatures.some(({ signature }) => keys.some((key) => key.verifies(signed, signature)));
  if (!isTrusted) throw invalid("no trusted key signed it");
  if (payloadType !== REFERENCE_TYPE) throw invalid("another type of content");
  const parsed = referenceValues.safeParse(readPayload(payload));
  if (parsed.success) return parsed.data;
  throw invalid(parsed.error.issues[0]?.path.join(".") || "content", parsed.error);
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

/** Each list becomes the profile's own and the statement's; a section that the profile does not have stays absent. */
export function withReferenceValues(profile: AppraisalProfile, values: ReferenceValues): AppraisalProfile {
  const { snp, tdx, sgx } = profile;
  return {
    ...profile,
    ...(snp ? { snp: { ...snp, ...joined(snp, values.snp) } } : {}),
    ...(tdx ? { tdx: { ...tdx, ...joined(tdx, values.tdx) } } : {}),
    ...(sgx ? { sgx: { ...sgx, ...joined(sgx, values.sgx) } } : {}),
  };
}

function joined<Values extends object>(own: Partial<Values>, added: Values | undefined): Partial<Values> {
  const lists = Object.entries(added ?? {}).map(([name, list]) => {
    const known = (own as Readonly<Record<string, unknown>>)[name];
    return [name, [...(Array.isArray(known) ? known : []), ...(Array.isArray(list) ? list : [])]];
  });
  return Object.fromEntries(lists) as Partial<Values>;
}
