/** Floor 2: one policy language for every decision. */
export { type PolicyCase, parseCases, parseEntity, testPolicy } from "./cases.ts";
export { checkPolicy } from "./check.ts";
export { DEFAULT_POLICY } from "./default-policy.ts";
export { PolicyEngine } from "./engine.ts";
export { policyError } from "./errors.ts";
export { explain } from "./explain.ts";
export { POLICY_LIMITS } from "./limits.ts";
export type {
  Engine,
  Explanation,
  PolicyCaseResult,
  PolicyCheck,
  PolicyInfo,
  PolicyProblem,
  PolicyTest,
} from "./policy.ts";
export { POLICY_SCHEMA } from "./schema.ts";
