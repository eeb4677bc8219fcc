/** Limits of the policy module. The evaluator recurses, and a stack that ran out would take it down: so depth is bounded here. */
export const POLICY_LIMITS = {
  /** Text of one policy set, in bytes. */
  textBytes: 256 * 1024,
  /** Policies in one set. */
  policies: 1000,
  /** Text of one policy, in characters. */
  policyCharacters: 32 * 1024,
  /** Brackets inside each other, in levels. */
  nestingLevels: 20,
  /** Weight of one path into an expression: a bracket counts 3, an access, a call or an arithmetic operator 1. */
  pathWeight: 66,
  /** `&&` and `||` in one policy. */
  logicalOperators: 400,
  /** `if` in one policy. */
  conditionals: 40,
  /** Id of a policy, in characters. */
  idCharacters: 128,
  /** Reason of a policy (`@about`), in characters. */
  aboutCharacters: 500,
  /** Decisions that one engine remembers. */
  cachedDecisions: 4096,
  /** Longest request that is remembered, in characters. */
  cachedKeyCharacters: 4096,
  /** Groups of one principal. */
  groups: 256,
  /** Values inside each other in a request's context, in levels. */
  contextLevels: 8,
  /** A file of test cases, in bytes. */
  caseFileBytes: 1024 * 1024,
  /** Cases in one file. */
  cases: 10_000,
  /** Problems that one check reports. */
  problems: 100,
} as const;
