/** Sibling statements: what else the signer says about the same root digest, each its own DSSE envelope. */
import { z } from "zod";
import { parseJson, utf8 } from "../base/index.ts";
import { dsseToJson, parseDsse } from "../codec/index.ts";
import { signEnvelope, type Trust, verifyEnvelope } from "./bundle.ts";
import { signingError } from "./errors.ts";
import type { ModelSigner } from "./keys.ts";
import { SIGNING_LIMITS } from "./limits.ts";
import { STATEMENT_TYPE } from "./manifest.ts";

export interface StatementInput {
  readonly predicateType: string;
  readonly predicate: unknown;
  /** Lower-case hex root digest of the model's signature. */
  readonly rootDigest: string;
  readonly name: string;
  readonly signer: ModelSigner;
}

declare const verified: unique symbol;

/** Only `verifyStatement` makes these. */
export interface VerifiedStatement {
  readonly [verified]: true;
  readonly keyId: string;
  readonly rootDigest: string;
  readonly predicate: unknown;
}

const schema = z.object({
  _type: z.literal(STATEMENT_TYPE),
  subject: z
    .array(z.object({ name: z.string().max(8_192), digest: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }) }))
    .length(1),
  predicateType: z.string().max(512),
  predicate: z.unknown(),
});

/** The DSSE envelope as JSON text. */
export async function signStatement(input: StatementInput): Promise<string> {
  const { predicateType, predicate, rootDigest, name, signer } = input;
  const statement = {
    _type: STATEMENT_TYPE,
    subject: [{ name, digest: { sha256: rootDigest } }],
    predicateType,
    predicate,
  };
  return `${JSON.stringify(dsseToJson(await signEnvelope(utf8(JSON.stringify(statement)), signer)))}\n`;
}

/** What a statement says, its signature checked; about which model is for the caller to compare. */
export interface ReadStatement {
  readonly keyId: string;
  readonly predicateType: string;
  readonly rootDigest: string;
  readonly predicate: unknown;
}

/** Throws BUNDLE_INVALID, SIGNER_NOT_TRUSTED or SIGNATURE_INVALID. */
export function readStatement(envelope: Uint8Array | string, trust: Pick<Trust, "publicKeys">): ReadStatement {
  const text = parseJson(envelope, {
    maxBytes: SIGNING_LIMITS.bundleBytes,
    maxValues: SIGNING_LIMITS.bundleValues,
    what: "statement",
  });
  const { key, payload } = verifyEnvelope(parseDsse(text as object), trust);
  const parsed = schema.safeParse(parseJson(payload, { maxBytes: SIGNING_LIMITS.bundleBytes, what: "statement" }));
  if (!parsed.success)
    throw signingError("BUNDLE_INVALID", { detail: `statement: ${parsed.error.issues[0]?.path.join(".") ?? ""}` });
  const { predicateType, subject, predicate } = parsed.data;
  return { keyId: key.keyId, predicateType, rootDigest: subject[0]?.digest.sha256 ?? "", predicate };
}

export function verifyStatement(
  envelope: Uint8Array | string,
  expected: { trust: Trust; predicateType: string; rootDigest: string },
): VerifiedStatement {
  const { keyId, predicateType, rootDigest, predicate } = readStatement(envelope, expected.trust);
  if (predicateType !== expected.predicateType) {
    throw signingError("SIGNATURE_INVALID", {
      detail: `the statement is a ${predicateType.slice(0, 100)}, expected a ${expected.predicateType}`,
    });
  }
  if (rootDigest !== expected.rootDigest)
    throw signingError("SIGNATURE_INVALID", { detail: "the statement is about another model" });
  return { keyId, rootDigest, predicate } as VerifiedStatement;
}
