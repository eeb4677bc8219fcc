/** Checks a policy text: syntax, ids, and types against the schema, each problem with its line. */
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { POLICY_LIMITS } from "./limits.ts";
import { type ParsedPolicy, parsePolicies, toProblem } from "./parse.ts";
import type { PolicyCheck, PolicyProblem } from "./policy.ts";
import { POLICY_SCHEMA } from "./schema.ts";

/** Never throws. */
export function checkPolicy(text: string): PolicyCheck {
  const { policies, problems } = parsePolicies(text);
  const infos = policies.map(({ info }) => info);
  if (problems.length > 0) return { ok: false, errors: sorted(problems), warnings: [], policies: infos };
  const { errors, warnings } = validate(text, policies);
  return { ok: errors.length === 0, errors: sorted(errors), warnings: sorted(warnings), policies: infos };
}

function validate(
  text: string,
  policies: readonly ParsedPolicy[],
): { errors: readonly PolicyProblem[]; warnings: readonly PolicyProblem[] } {
  const byId = new Map(policies.map((policy) => [policy.info.id, policy]));
  const staticPolicies = Object.fromEntries(policies.map(({ info, source }) => [info.id, source.text]));
  const answer = cedar.validate({ schema: POLICY_SCHEMA, policies: { staticPolicies } });
  const place = (found: readonly cedar.ValidationError[]) =>
    found.map(({ policyId, error }) => {
      const source = byId.get(policyId)?.source ?? { text, start: 0 };
      return toProblem(text, source, policyId, withoutPrefix(error, policyId));
    });
  if (answer.type === "failure") {
    return { errors: [toProblem(text, { text, start: 0 }, undefined, answer.errors[0])], warnings: [] };
  }
  return { errors: place(answer.validationErrors), warnings: place(answer.validationWarnings) };
}

function withoutPrefix(error: cedar.DetailedError, policyId: string): cedar.DetailedError {
  return { ...error, message: error.message.replace(`for policy \`${policyId}\`, `, "") };
}

function sorted(problems: readonly PolicyProblem[]): readonly PolicyProblem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column).slice(0, POLICY_LIMITS.problems);
}
