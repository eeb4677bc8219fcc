/** Answers the routes of the policy. */
import type { Authorizer, Caller } from "../../base/index.ts";
import { type CurrentPolicy, getPolicy, setPolicy } from "../../contract/index.ts";
import { serverError } from "../errors.ts";
import { authenticated, type Implementation } from "../handler.ts";
import type { PolicyService, StoredPolicy } from "../policy-service.ts";

export function policyRoutes(services: { readonly policy: PolicyService }): Implementation[] {
  const { policy } = services;
  return [
    authenticated(getPolicy, async (_request, caller) => {
      mayManage(policy.authorizer(), caller);
      return toWire(policy.current());
    }),
    authenticated(setPolicy, async ({ body }, caller) => {
      mayManage(policy.authorizer(), caller);
      const stored = await policy.set(body.text, {
        by: caller,
        ...(body.if_version === undefined ? {} : { ifVersion: body.if_version }),
        ...(body.allow_lockout === undefined ? {} : { allowLockout: body.allow_lockout }),
      });
      return toWire(stored);
    }),
  ];
}

function mayManage(authorizer: Authorizer, caller: Caller): void {
  const { allowed } = authorizer.decide({
    principal: caller.principal,
    groups: caller.groups,
    action: "managePolicy",
    resource: { type: "Server", id: "local" },
    context: {},
  });
  if (!allowed) throw serverError("FORBIDDEN", { detail: "managePolicy" });
}

function toWire(stored: StoredPolicy): CurrentPolicy {
  const { text, version, digest, setBy, setAt } = stored;
  return {
    text,
    version,
    digest,
    ...(setBy === undefined ? {} : { set_by: setBy }),
    ...(setAt === undefined ? {} : { set_at: new Date(setAt).toISOString() }),
  };
}
