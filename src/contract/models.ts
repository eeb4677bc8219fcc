/** Routes and messages of the model registry: what was published, by whom it was signed, what was found in it. */
import { z } from "zod";
import { defineRoute } from "./route.ts";

/** Largest publication, in bytes: the bill of materials is the big part. */
export const PUBLICATION_BYTES = 8 * 1024 * 1024;

const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,99}$/, "lower-case letters, digits, . _ -, at most 100");
const version = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/, "letters, digits, . _ + -, at most 100");
const hexDigest = z.string().regex(/^[0-9a-f]{64}$/, "64 lower-case hex digits");

/** `name@version`, as in `keeper@1`. */
export const modelRef = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,99}@[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/, "name@version");

export const scanVerdict = z.enum(["clean", "suspicious", "malicious", "unscannable", "malformed"]);

export const vulnerabilityCounts = z.object({
  critical: z.int().nonnegative(),
  high: z.int().nonnegative(),
  medium: z.int().nonnegative(),
  low: z.int().nonnegative(),
  unknown: z.int().nonnegative(),
  malware: z.int().nonnegative(),
});

export type VulnerabilityCounts = z.output<typeof vulnerabilityCounts>;

export const publication = z.object({
  name,
  version,
  /** SPKI PEM of the signer; the server verifies all that follows with it. */
  public_key: z.string().max(4096),
  /** The OMS bundle, as JSON text. */
  bundle: z.string().max(PUBLICATION_BYTES),
  /** DSSE envelopes over the same root digest, as JSON text: seal, bill of materials, findings. */
  statements: z.object({
    seal: z.string().max(PUBLICATION_BYTES),
    bom: z.string().max(PUBLICATION_BYTES),
    findings: z.string().max(PUBLICATION_BYTES),
    /** Of other types, at most one of each. */
    more: z.array(z.string().max(PUBLICATION_BYTES)).max(16).optional(),
  }),
  /** OMS bundles of further signers of the same files, as JSON text. */
  signatures: z.array(z.string().max(PUBLICATION_BYTES)).max(16).optional(),
  /** The key envelope, as JSON text. */
  envelope: z.string().max(64 * 1024),
  store_uri: z.string().max(2048),
  prefix: z.string().max(512),
});

export type Publication = z.input<typeof publication>;

/** Of the signed bill of materials, as policy sees it. */
export const bomAttributes = z.object({
  /** Minimum elements that are there, in percent. */
  score: z.int().min(0).max(100),
  licenses: z.array(z.string()),
  /** Loading the model runs code of its own. */
  custom_code: z.boolean(),
});

export type BomAttributes = z.output<typeof bomAttributes>;

export const publishedModel = z.object({
  name: z.string(),
  version: z.string(),
  package_id: z.string(),
  root_digest: hexDigest,
  signer_key_id: hexDigest,
  store_uri: z.string(),
  prefix: z.string(),
  scan_verdict: scanVerdict,
  vulnerabilities: vulnerabilityCounts,
  /** False when the publisher had no advisories to match against: the counts then say nothing. */
  advisories_matched: z.boolean(),
  /** Absent for models that were published before it was kept. */
  bom: bomAttributes.optional(),
  published_at: z.string(),
  published_by: z.string(),
});

export type PublishedModel = z.output<typeof publishedModel>;

export const publishModel = defineRoute({
  id: "publishModel",
  method: "POST",
  path: "/api/v1/models",
  about: "Registers a sealed model; the signature and the statements are verified before policy is asked.",
  auth: "token",
  body: publication,
  reply: publishedModel,
  maxBodyBytes: PUBLICATION_BYTES,
});

export const listModels = defineRoute({
  id: "listModels",
  method: "GET",
  path: "/api/v1/models",
  about: "The published models, by name and version.",
  auth: "token",
  body: z.object({ after: z.string().max(256).optional() }),
  reply: z.object({ models: z.array(publishedModel), next: z.string().optional() }),
});

export const getModel = defineRoute({
  id: "getModel",
  method: "GET",
  path: "/api/v1/models/{ref}",
  about: "One published model, by name@version.",
  auth: "token",
  body: z.object({}),
  reply: publishedModel,
});

/** What a host says about a load: it cannot be forced to tell, so the record calls it reported. */
export const loadReport = z.strictObject({
  package_id: z.string().max(64),
  root_digest: hexDigest,
  outcome: z.enum(["loaded", "refused"]),
  /** The code of the error that stopped it. */
  reason: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]{0,63}$/)
    .optional(),
});

export type LoadReport = z.output<typeof loadReport>;

export const reportLoad = defineRoute({
  id: "reportLoad",
  method: "POST",
  path: "/api/v1/models/{ref}/loads",
  about: "Writes down that a host loaded the model, or refused what the store gave it.",
  auth: "token",
  body: loadReport,
  reply: z.object({ recorded: z.literal(true) }),
});

/** Predicate of the findings statement: what scan and advisory match said when the model was published. */
export const FINDINGS_PREDICATE_TYPE = "urn:modelkeep:findings:v1";
export const BOM_PREDICATE_TYPE = "https://cyclonedx.org/bom";

export const findingsPredicate = z.object({
  scan_verdict: scanVerdict,
  vulnerabilities: vulnerabilityCounts,
  advisories_matched: z.boolean(),
});
