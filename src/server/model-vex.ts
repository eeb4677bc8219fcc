/** What a model's publisher says about its weaknesses: VEX in the signed bill of materials, and statements beside it. */
import { ModelkeepError } from "../base/index.ts";
import { readVexOf, type VexStatement } from "../bom/index.ts";
import { STATEMENT_KINDS, type Trust, verifyStatement } from "../signing/index.ts";

export interface Spoken {
  /** The predicate of the verified bill of materials. */
  readonly bom: unknown;
  /** DSSE envelopes of further statements, not verified yet. */
  readonly more: readonly string[];
  readonly trust: Trust;
  readonly rootDigest: string;
}

/** Statements by others than the publisher count for nothing; so do those that say nothing that can be used. */
export function statementsOfModel({ bom, more, trust, rootDigest }: Spoken): VexStatement[] {
  const { predicateType, also } = STATEMENT_KINDS.vex;
  const said = more.flatMap((envelope) =>
    [predicateType, ...also].flatMap((type) => predicateOf(envelope, { trust, predicateType: type, rootDigest })),
  );
  return [bom, ...said].flatMap((document) => read(document));
}

function predicateOf(envelope: string, about: Parameters<typeof verifyStatement>[1]): unknown[] {
  try {
    return [verifyStatement(envelope, about).predicate];
  } catch (error) {
    if (error instanceof ModelkeepError) return [];
    throw error;
  }
}

function read(document: unknown): readonly VexStatement[] {
  try {
    return readVexOf(document).statements;
  } catch (error) {
    if (error instanceof ModelkeepError && error.code === "VEX_INVALID") return [];
    throw error;
  }
}
