/** What the policy module promises: an engine that decides, a check with line numbers, cases, and the reason of a decision. */
import type { Authorizer, PolicyDecision } from "../base/index.ts";

/** One policy of a set, as its author wrote it. */
export interface PolicyInfo {
  /** The annotation `@id`, else `policy` and its place in the text, from 1. */
  readonly id: string;
  readonly effect: "permit" | "forbid";
  /** The annotation `@about`: why this policy is there. */
  readonly about: string | undefined;
  /** First line of the policy in the text, from 1. */
  readonly line: number;
  /** Actions that its head names; undefined when it speaks of all. */
  readonly actions: readonly string[] | undefined;
}

export interface Engine extends Authorizer {
  readonly policies: readonly PolicyInfo[];
  /** SHA-256 of the text, hex. */
  readonly digest: string;
}

export interface PolicyProblem {
  /** From 1; 0 when the problem belongs to the whole text. */
  readonly line: number;
  readonly column: number;
  readonly policy: string | undefined;
  readonly message: string;
}

export interface PolicyCheck {
  readonly ok: boolean;
  readonly errors: readonly PolicyProblem[];
  readonly warnings: readonly PolicyProblem[];
  readonly policies: readonly PolicyInfo[];
}

export interface Explanation extends PolicyDecision {
  /** The policies that decided, with their reason. */
  readonly decidedBy: readonly PolicyInfo[];
  /** Policies that speak of this action and did not hold for this request. */
  readonly didNotHold: readonly PolicyInfo[];
  /** One sentence. */
  readonly summary: string;
}

export interface PolicyCaseResult {
  readonly name: string;
  readonly passed: boolean;
  readonly expected: "allow" | "deny";
  readonly decision: Explanation;
}

export interface PolicyTest {
  readonly ok: boolean;
  readonly results: readonly PolicyCaseResult[];
}
