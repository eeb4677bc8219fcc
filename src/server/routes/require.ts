/** Asks policy for a route and records the refusal. */
import { type Authorizer, type Caller, type EntityRef, entityText, type Recorder } from "../../base/index.ts";
import { serverError } from "../errors.ts";

export interface PolicyPorts {
  readonly authorizer: () => Authorizer;
  readonly recorder: Recorder;
}

/** Throws FORBIDDEN when policy does not permit it; the refusal is durable before it is told. */
export async function requireDecision(
  ports: PolicyPorts,
  caller: Caller,
  action: string,
  resource: EntityRef,
  context: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const { principal, groups } = caller;
  const decision = ports.authorizer().decide({ principal, groups, action, resource, context });
  if (decision.allowed) return;
  await ports.recorder.record({
    action: `policy.${action}`,
    outcome: "refused",
    principal: entityText(principal),
    resource: entityText(resource),
    reason: decision.policies,
  });
  const inGroups = groups.map((group) => ` --group ${group}`).join("");
  const [who, what] = [entityText(principal), entityText(resource)];
  throw serverError("FORBIDDEN", {
    detail: `${action} on ${what}`,
    hint: `an administrator sees why: modelkeep policy explain --principal '${who}'${inGroups} --action ${action} --resource '${what}'`,
  });
}
