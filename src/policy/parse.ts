/** Parses a policy text into named policies, or says on which line it fails. */
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { policyError } from "./errors.ts";
import { POLICY_LIMITS } from "./limits.ts";
import type { PolicyInfo, PolicyProblem } from "./policy.ts";
import { type PolicySource, placeOf, splitPolicies } from "./split.ts";

export interface ParsedPolicy {
  readonly info: PolicyInfo;
  readonly source: PolicySource;
}

export interface ParsedPolicies {
  readonly policies: readonly ParsedPolicy[];
  readonly problems: readonly PolicyProblem[];
}

export function parsePolicies(text: string): ParsedPolicies {
  const bytes = Buffer.byteLength(text);
  if (bytes > POLICY_LIMITS.textBytes) return failed(`${bytes} bytes, the limit is ${POLICY_LIMITS.textBytes}`);
  if (text.includes("\0") || !text.isWellFormed()) return failed("the text holds characters that no text has");
  const { sources, problems } = splitPolicies(text);
  if (problems.length > 0) return { policies: [], problems };
  const policies: ParsedPolicy[] = [];
  const found: PolicyProblem[] = [];
  const seen = new Set<string>();
  sources.forEach((source, index) => {
    const parsed = parseOne(text, source, index);
    if ("message" in parsed) found.push(parsed);
    else if (seen.has(parsed.info.id)) found.push(twice(text, source, parsed.info.id));
    else policies.push(parsed);
    if ("info" in parsed) seen.add(parsed.info.id);
  });
  return { policies, problems: found.slice(0, POLICY_LIMITS.problems) };
}

/** The policies, or POLICY_INVALID with the first problems. */
export function parsePoliciesOrFail(text: string): readonly ParsedPolicy[] {
  const { policies, problems } = parsePolicies(text);
  if (problems.length > 0) throw policyError("POLICY_INVALID", { detail: describeProblems(problems) });
  return policies;
}

export function describeProblems(problems: readonly PolicyProblem[]): string {
  const shown = problems.slice(0, 3).map(({ line, message }) => `line ${line}: ${message}`);
  return problems.length > 3 ? `${shown.join("; ")}; and ${problems.length - 3} more` : shown.join("; ");
}

function failed(message: string): ParsedPolicies {
  return { policies: [], problems: [{ line: 0, column: 0, policy: undefined, message }] };
}

function twice(text: string, source: PolicySource, id: string): PolicyProblem {
  return { ...placeOf(text, source.start), policy: id, message: `the id ${JSON.stringify(id)} is used twice` };
}

function parseOne(text: string, source: PolicySource, index: number): ParsedPolicy | PolicyProblem {
  const answer = cedar.policyToJson(source.text);
  if (answer.type === "failure") return toProblem(text, source, undefined, answer.errors[0]);
  const { annotations = {}, effect, action } = answer.json;
  const id = annotations.id ?? `policy${index + 1}`;
  const problem = problemOfNames(id, annotations.about);
  const place = placeOf(text, source.start);
  if (problem) return { ...place, policy: id.slice(0, POLICY_LIMITS.idCharacters), message: problem };
  const info = { id, effect, about: annotations.about, line: place.line, actions: actionsOf(action) };
  return { info, source };
}

function problemOfNames(id: string, about: string | undefined): string | undefined {
  if (!/^[\x21-\x7e]+$/.test(id) || id.length > POLICY_LIMITS.idCharacters) {
    return `@id is visible ASCII without spaces, at most ${POLICY_LIMITS.idCharacters} characters`;
  }
  if (about !== undefined && about.length > POLICY_LIMITS.aboutCharacters) {
    return `@about has at most ${POLICY_LIMITS.aboutCharacters} characters`;
  }
  return undefined;
}

function actionsOf(constraint: cedar.ActionConstraint): readonly string[] | undefined {
  if (constraint.op === "All") return undefined;
  const entities = "entities" in constraint ? constraint.entities : "entity" in constraint ? [constraint.entity] : [];
  return entities.map((entity) => ("__entity" in entity ? entity.__entity.id : entity.id));
}

/** Places an error of the evaluator: its offsets count UTF-8 bytes from the start of the policy. */
export function toProblem(
  text: string,
  source: PolicySource,
  policy: string | undefined,
  error: cedar.DetailedError | undefined,
): PolicyProblem {
  const location = error?.sourceLocations?.[0];
  const inside = Buffer.from(source.text)
    .subarray(0, location?.start ?? 0)
    .toString().length;
  const label = location?.label ? ` (${location.label})` : "";
  const help = error?.help ? `; ${error.help}` : "";
  const message = (error?.message ?? "cannot be parsed").replace(/^failed to parse polic(y|ies) from string: /, "");
  return { ...placeOf(text, source.start + inside), policy, message: `${message}${label}${help}` };
}
