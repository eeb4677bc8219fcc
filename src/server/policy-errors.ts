/** Errors of the stored policy. */
import { defineErrors, EXIT } from "../base/index.ts";

export const policyServiceError = defineErrors("server/policy", {
  POLICY_CHANGED: {
    status: 409,
    exit: EXIT.failed,
    title: "The policy was changed by somebody else",
    hint: "modelkeep policy show",
  },
  POLICY_LOCKS_OUT: {
    status: 422,
    exit: EXIT.failed,
    title: "Under this policy you could not change the policy again",
    hint: 'permit Action::"managePolicy" to somebody you are, or say --allow-lockout',
  },
});
