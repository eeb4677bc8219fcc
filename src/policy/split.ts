/** Cuts a policy text into its policies and bounds each, before the evaluator's recursive parser sees it. */
import { POLICY_LIMITS } from "./limits.ts";
import type { PolicyProblem } from "./policy.ts";

export interface PolicySource {
  readonly text: string;
  /** Place of the first character in the whole text. */
  readonly start: number;
}

export interface SplitPolicies {
  readonly sources: readonly PolicySource[];
  readonly problems: readonly PolicyProblem[];
}

/** Comment, string, word, logical operator, or any other single character; strings may stay open at the end. */
const TOKEN = /\/\/[^\n]*|"(?:\\[\s\S]|[^"\\])*"?|[A-Za-z_][A-Za-z0-9_]*|&&|\|\||\s+|[\s\S]/g;

export function splitPolicies(text: string): SplitPolicies {
  const sources: PolicySource[] = [];
  const problems: PolicyProblem[] = [];
  let weigher = new Weigher();
  let start = -1;
  for (const match of text.matchAll(TOKEN)) {
    const token = match[0];
    if (start === -1 && isBlank(token)) continue;
    if (start === -1) start = match.index;
    if (isBlank(token)) continue;
    const message = weigher.add(token);
    if (message) return { sources, problems: [{ ...placeOf(text, match.index), policy: undefined, message }] };
    if (token !== ";") continue;
    sources.push({ text: text.slice(start, match.index + 1), start });
    if (sources.length > POLICY_LIMITS.policies) return { sources, problems: [tooMany(text, start)] };
    start = -1;
    weigher = new Weigher();
  }
  if (start !== -1) sources.push({ text: text.slice(start), start });
  return { sources, problems };
}

function isBlank(token: string): boolean {
  return token.startsWith("//") || token.trim() === "";
}

function tooMany(text: string, at: number): PolicyProblem {
  const message = `more than ${POLICY_LIMITS.policies} policies`;
  return { ...placeOf(text, at), policy: undefined, message };
}

/** Line and column from 1; `at` counts UTF-16 units. */
export function placeOf(text: string, at: number): { line: number; column: number } {
  const before = text.slice(0, at);
  return { line: before.split("\n").length, column: at - before.lastIndexOf("\n") };
}

const OPENING = new Set(["(", "[", "{"]);
const CLOSING = new Set([")", "]", "}"]);
const CHAINING = new Set([".", "+", "-", "*", "!"]);
const BRACKET_WEIGHT = 3;

/** Adds up how deep the evaluator would have to go for one policy. */
class Weigher {
  #levels: number[] = [0];
  #characters = 0;
  #logical = 0;
  #conditionals = 0;

  /** A message when this token goes over a limit. */
  add(token: string): string | undefined {
    this.#characters += token.length;
    if (OPENING.has(token)) this.#open();
    else if (CLOSING.has(token)) this.#close();
    else if (CHAINING.has(token)) this.#chain();
    else if (token === "&&" || token === "||") this.#restart();
    else if (token === "if") this.#conditionals++;
    return this.#over();
  }

  #open(): void {
    this.#chain();
    this.#levels.push(BRACKET_WEIGHT);
  }

  #close(): void {
    if (this.#levels.length > 1) this.#levels.pop();
  }

  #chain(): void {
    this.#levels.push((this.#levels.pop() ?? 0) + 1);
  }

  #restart(): void {
    this.#logical++;
    this.#levels.pop();
    this.#levels.push(this.#levels.length === 0 ? 0 : BRACKET_WEIGHT);
  }

  #over(): string | undefined {
    const { nestingLevels, pathWeight, logicalOperators, conditionals, policyCharacters } = POLICY_LIMITS;
    if (this.#characters > policyCharacters) return `a policy of more than ${policyCharacters} characters`;
    if (this.#levels.length - 1 > nestingLevels) return `brackets are nested deeper than ${nestingLevels} levels`;
    if (this.#logical > logicalOperators) return `more than ${logicalOperators} of && and || in one policy`;
    if (this.#conditionals > conditionals) return `more than ${conditionals} of if in one policy`;
    const weight = this.#levels.reduce((sum, level) => sum + level, 0);
    return weight > pathWeight ? "an expression is too deep: split it into several conditions" : undefined;
  }
}
