/** Says why a request is allowed or refused: which policies decided, and which spoke of the action but did not hold. */
import { entityText, type PolicyRequest } from "../base/index.ts";
import type { Engine, Explanation, PolicyInfo } from "./policy.ts";

export function explain(engine: Engine, request: PolicyRequest): Explanation {
  const decision = engine.decide(request);
  const decidedBy = engine.policies.filter(({ id }) => decision.policies.includes(id));
  const didNotHold = engine.policies.filter(
    ({ id, actions }) => !decision.policies.includes(id) && (actions === undefined || actions.includes(request.action)),
  );
  const { allowed, errors } = decision;
  return { ...decision, decidedBy, didNotHold, summary: summarise(request, allowed, decidedBy, errors) };
}

function summarise(
  request: PolicyRequest,
  allowed: boolean,
  decidedBy: readonly PolicyInfo[],
  errors: readonly string[],
): string {
  const what = `${entityText(request.principal)} ${request.action} ${entityText(request.resource)}`;
  const names = decidedBy.map(({ id, about }) => (about === undefined ? id : `${id} (${about})`)).join(", ");
  if (allowed) return `allowed: ${what}, by ${names}`;
  if (names) return `refused: ${what}, forbidden by ${names}`;
  if (errors.length > 0) return `refused: ${what}, ${errors[0]}`;
  return `refused: ${what}, no policy permits it`;
}
