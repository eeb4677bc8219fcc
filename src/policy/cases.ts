/** Runs a file of cases (YAML or JSON) against a policy: what must be allowed, and what must not. */
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { fromUtf8, type PolicyRequest } from "../base/index.ts";
import { PolicyEngine } from "./engine.ts";
import { policyError } from "./errors.ts";
import { explain } from "./explain.ts";
import { POLICY_LIMITS } from "./limits.ts";
import type { PolicyCaseResult, PolicyTest } from "./policy.ts";

const ENTITY = /^([A-Za-z_][A-Za-z0-9_]*)::"([^"\\\n]{1,256})"$/;

const entity = z
  .string()
  .regex(ENTITY, 'an entity is written Type::"id"')
  .transform((text) => parseEntity(text));

const policyCase = z.strictObject({
  name: z.string().min(1).max(200).optional(),
  principal: entity,
  groups: z.array(z.string().max(256)).max(POLICY_LIMITS.groups).default([]),
  action: z.string().min(1).max(100),
  resource: entity,
  context: z.record(z.string(), z.unknown()).default({}),
  expect: z.enum(["allow", "deny"]),
  /** When given, exactly these policies must have decided. */
  policies: z.array(z.string()).optional(),
});

const caseFile = z.array(policyCase).min(1).max(POLICY_LIMITS.cases);

export type PolicyCase = z.output<typeof policyCase>;

/** Reads `Type::"id"`; fails with POLICY_CASES_INVALID. */
export function parseEntity(text: string): { type: string; id: string } {
  const match = ENTITY.exec(text);
  if (!match) throw policyError("POLICY_CASES_INVALID", { detail: `${text.slice(0, 80)} is not Type::"id"` });
  return { type: match[1] ?? "", id: match[2] ?? "" };
}

/** Fails with POLICY_CASES_INVALID and the first wrong place. */
export function parseCases(file: Uint8Array | string): readonly PolicyCase[] {
  const parsed = caseFile.safeParse(readYaml(file));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw policyError("POLICY_CASES_INVALID", { detail: `${issue?.path.join(".") || "file"}: ${issue?.message}` });
}

function readYaml(file: Uint8Array | string): unknown {
  const bytes = typeof file === "string" ? Buffer.byteLength(file) : file.length;
  if (bytes > POLICY_LIMITS.caseFileBytes) {
    throw policyError("POLICY_CASES_INVALID", {
      detail: `${bytes} bytes, the limit is ${POLICY_LIMITS.caseFileBytes}`,
    });
  }
  try {
    return parseYaml(typeof file === "string" ? file : fromUtf8(file), { maxAliasCount: 0, uniqueKeys: true });
  } catch (error) {
    const message = error instanceof Error ? (error.message.split("\n")[0] ?? "") : "";
    throw policyError("POLICY_CASES_INVALID", { detail: message, cause: error });
  }
}

/** Fails with POLICY_INVALID when the policy cannot be parsed. */
export function testPolicy(text: string, cases: readonly PolicyCase[]): PolicyTest {
  const engine = PolicyEngine.load(text);
  const results = cases.map((one, index) => runCase(engine, one, index));
  return { ok: results.every(({ passed }) => passed), results };
}

function runCase(engine: PolicyEngine, one: PolicyCase, index: number): PolicyCaseResult {
  const { principal, groups, action, resource, context } = one;
  const request: PolicyRequest = { principal, groups, action, resource, context };
  const decision = explain(engine, request);
  const asExpected = decision.allowed === (one.expect === "allow");
  const byExpected = one.policies === undefined || sameIds(one.policies, decision.policies);
  return { name: one.name ?? `case ${index + 1}`, passed: asExpected && byExpected, expected: one.expect, decision };
}

function sameIds(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && [...a].sort().every((id, index) => id === [...b].sort()[index]);
}
