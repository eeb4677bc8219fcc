/** Asks policy for a route and records the refusal. */
import { type Authorizer, type Caller, type EntityRef, entityText, LIMITS, type Recorder } from "../../base/index.ts";
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
  const what = nameOf(resource);
  await ports.recorder.record({
    action: `policy.${action}`,
    outcome: "refused",
    principal: entityText(principal),
    resource: what,
    reason: decision.policies,
  });
  const inGroups = groups.map((group) => ` --group ${group}`).join("");
  const [by, on] = [quoted(entityText(principal)), quoted(what)];
  throw serverError("FORBIDDEN", {
    detail: `${action} on ${what}`,
    hint: `an administrator sees why: modelkeep policy explain --principal ${by}${inGroups} --action ${action} --resource ${on}`,
  });
}

/** What somebody asked for may be as long as a request; the record names no more of it than any name has. */
function nameOf({ type, id }: EntityRef): string {
  return entityText({ type, id: id.slice(0, LIMITS.idCharacters).toWellFormed() });
}

/** One word of a shell: the hint is typed by somebody who may do more. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
