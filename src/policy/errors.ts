/** Error codes of the policy module. */
import { defineErrors, EXIT } from "../base/index.ts";

export const policyError = defineErrors("policy", {
  POLICY_INVALID: {
    status: 422,
    exit: EXIT.failed,
    title: "The policy is not valid",
    hint: "modelkeep policy check FILE",
  },
  POLICY_CASES_INVALID: {
    status: 422,
    exit: EXIT.usage,
    title: "The file of policy cases is not valid",
    hint: "modelkeep policy test --help",
  },
});
