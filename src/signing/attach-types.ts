/** The kinds of statement that may stand beside a signature: their short names, predicate types and least content. */
import { z } from "zod";

const text = z.string().min(1).max(8_192);
const list = z.array(z.unknown()).max(100_000);
const time = z.iso.datetime({ offset: true });
const anything = z.record(z.string(), z.unknown());

interface StatementKind {
  readonly predicateType: string;
  /** Other names of the same form, accepted when read. */
  readonly also?: readonly string[];
  /** What must be there; more may be. */
  readonly content: z.ZodType;
}

const severity = z.looseObject({ method: text, score: z.union([text, z.number()]) });

/** SLSA 1.0; in-toto vulns 0.2 and test-result 0.1; the summary of SLSA 1.0; OpenVEX 0.2.0. */
export const STATEMENT_KINDS = {
  bom: {
    predicateType: "https://cyclonedx.org/bom",
    content: z.looseObject({ bomFormat: z.literal("CycloneDX"), specVersion: text }),
  },
  slsa: {
    predicateType: "https://slsa.dev/provenance/v1",
    content: z.looseObject({
      buildDefinition: z.looseObject({
        buildType: text,
        externalParameters: anything,
        resolvedDependencies: list.optional(),
      }),
      runDetails: z.looseObject({ builder: z.looseObject({ id: text }) }),
    }),
  },
  vulns: {
    predicateType: "https://in-toto.io/attestation/vulns/v0.2",
    content: z.looseObject({
      scanner: z.looseObject({
        uri: text,
        db: z.looseObject({ lastUpdate: time }),
        result: z.array(z.looseObject({ id: text, severity: z.array(severity) })).max(100_000),
      }),
      metadata: z.looseObject({ scanStartedOn: time, scanFinishedOn: time }),
    }),
  },
  "test-result": {
    predicateType: "https://in-toto.io/attestation/test-result/v0.1",
    content: z.looseObject({ result: z.enum(["PASSED", "WARNED", "FAILED"]), configuration: list }),
  },
  vsa: {
    predicateType: "https://slsa.dev/verification_summary/v1",
    content: z.looseObject({
      verifier: z.looseObject({ id: text }),
      timeVerified: time,
      resourceUri: text,
      policy: anything,
      verificationResult: z.enum(["PASSED", "FAILED"]),
    }),
  },
  vex: {
    predicateType: "https://openvex.dev/ns/v0.2.0",
    also: ["https://openvex.dev/ns"],
    content: z.looseObject({ "@context": z.string().startsWith("https://openvex.dev/ns"), statements: list }),
  },
  spdx: { predicateType: "https://spdx.dev/Document", content: anything },
  /** Made where a model is sealed and published, not attached by hand. */
  seal: { predicateType: "urn:modelkeep:seal:v1", content: anything },
  findings: { predicateType: "urn:modelkeep:findings:v1", content: anything },
} as const satisfies Readonly<Record<string, StatementKind>>;

export type StatementType = keyof typeof STATEMENT_KINDS;

export const STATEMENT_TYPE_NAMES = Object.keys(STATEMENT_KINDS) as readonly StatementType[];
/** Those that a person attaches. */
export const ATTACHABLE_TYPES = STATEMENT_TYPE_NAMES.filter((type) => type !== "seal" && type !== "findings");

export function statementKind(type: StatementType): StatementKind {
  return STATEMENT_KINDS[type];
}

/** Undefined for a predicate type that has no short name here. */
export function typeOfPredicate(predicateType: string): StatementType | undefined {
  return STATEMENT_TYPE_NAMES.find((type) => {
    const kind = statementKind(type);
    return kind.predicateType === predicateType || kind.also?.includes(predicateType) === true;
  });
}

/** What is wrong with a predicate, or undefined. */
export function predicateFault(type: StatementType, predicate: unknown): string | undefined {
  const parsed = statementKind(type).content.safeParse(predicate);
  if (parsed.success) return undefined;
  const [issue] = parsed.error.issues;
  return `${issue?.path.join(".") || "its content"}: ${issue?.message ?? "unknown shape"}`;
}
