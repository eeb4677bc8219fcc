/** Statements beside a signature: made with the signer's key, and checked as one set against one root digest. */
import { ModelkeepError, parseJson } from "../base/index.ts";
import { parseDsse } from "../codec/index.ts";
import { predicateFault, type StatementType, statementKind, typeOfPredicate } from "./attach-types.ts";
import { signingError } from "./errors.ts";
import type { TrustedKey } from "./keys.ts";
import { SIGNING_LIMITS } from "./limits.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { readBundleParts } from "./methods/material.ts";
import { type ReadStatement, readStatement, type StatementInput, signStatement } from "./statement.ts";

/** A document and where it was found, for messages. */
export interface NamedBytes {
  readonly name: string;
  readonly bytes: Uint8Array | string;
}

/** The DSSE envelope as JSON text. Throws PREDICATE_INVALID for content that is not of this type. */
export function makeStatement(
  type: StatementType,
  input: Omit<StatementInput, "predicateType">,
): ReturnType<typeof signStatement> {
  const fault = predicateFault(type, input.predicate);
  if (fault !== undefined) throw signingError("PREDICATE_INVALID", { detail: `${type}: ${fault}` });
  return signStatement({ ...input, predicateType: statementKind(type).predicateType });
}

export interface StatementFinding {
  readonly rule:
    | "statement-invalid"
    | "statement-signer"
    | "statement-type"
    | "statement-root"
    | "statement-twice"
    | "statement-content"
    | "statement-missing";
  readonly path: string;
  readonly message: string;
}

export interface AttachedReport {
  /** Types that are there and hold. */
  readonly present: readonly StatementType[];
  readonly findings: readonly StatementFinding[];
}

export interface AttachedExpectation {
  /** Lower-case hex root digest of the model's signature. */
  readonly rootDigest: string;
  /** Whose word counts: the model's signer, and who else is allowed to speak. */
  readonly keys: readonly TrustedKey[];
  readonly required: readonly StatementType[];
}

/** Every statement that is there must hold, whether it is required or not: a broken one is never looked past. */
export function checkStatements(statements: readonly NamedBytes[], expected: AttachedExpectation): AttachedReport {
  const present = new Set<StatementType>();
  const findings: StatementFinding[] = [];
  for (const statement of statements) {
    const checked = checkOne(statement, expected);
    if (typeof checked !== "string") findings.push(checked);
    else if (present.has(checked))
      findings.push({
        rule: "statement-twice",
        path: statement.name,
        message: `is another statement of type ${checked}`,
      });
    else present.add(checked);
  }
  const missing = expected.required.filter((type) => !present.has(type));
  const absent = missing.map((type) => ({
    rule: "statement-missing" as const,
    path: `${type}.json`,
    message: "is required, and none holds",
  }));
  return { present: [...present], findings: [...findings, ...absent] };
}

function checkOne(
  { name, bytes }: NamedBytes,
  { rootDigest, keys }: AttachedExpectation,
): StatementType | StatementFinding {
  const found = (rule: StatementFinding["rule"], message: string): StatementFinding => ({ rule, path: name, message });
  let statement: ReadStatement;
  try {
    statement = readStatement(bytes, { publicKeys: keys });
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
    const signer = error.code === "SIGNATURE_INVALID" || error.code === "SIGNER_NOT_TRUSTED";
    if (!signer) return found("statement-invalid", error.message);
    return found("statement-signer", "is not signed by the model's signer, nor by another that may speak");
  }
  const type = typeOfPredicate(statement.predicateType);
  if (!type) return found("statement-type", `is a ${JSON.stringify(statement.predicateType.slice(0, 100))}`);
  const named = /([^/]+)\.json$/.exec(name)?.[1];
  if (named !== undefined && named !== type) return found("statement-type", `holds a ${type} statement`);
  if (statement.rootDigest !== rootDigest) return found("statement-root", "is about another model");
  const fault = predicateFault(type, statement.predicate);
  return fault === undefined ? type : found("statement-content", fault);
}

/** What a signature says the root is, with nobody's word for it: only to be compared with a digest made here. */
export function readSignedRoot(bundle: Uint8Array | string): string {
  return readSignedManifest(bundle).rootDigest;
}

/** The same of all that it lists. */
export function readSignedManifest(bundle: Uint8Array | string): Manifest {
  const { envelope } = readBundleParts(
    parseJson(bundle, { maxBytes: SIGNING_LIMITS.bundleBytes, what: "signature file" }),
  );
  return parseManifest(parseDsse(envelope).payload);
}
