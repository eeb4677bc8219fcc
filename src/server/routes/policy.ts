/** Answers the routes of the policy. */
import type { Caller, Recorder } from "../../base/index.ts";
import { type CurrentPolicy, getPolicy, setPolicy } from "../../contract/index.ts";
import { authenticated, type Implementation } from "../handler.ts";
import type { PolicyService, StoredPolicy } from "../policy-service.ts";
import { requireDecision } from "./require.ts";

const LOCAL = { type: "Server", id: "local" };

export interface PolicyRouteServices {
  readonly policy: PolicyService;
  readonly recorder: Recorder;
}

export function policyRoutes({ policy, recorder }: PolicyRouteServices): Implementation[] {
  const mayManage = (caller: Caller) =>
    requireDecision({ authorizer: () => policy.authorizer(), recorder }, caller, "managePolicy", LOCAL);
  return [
    authenticated(getPolicy, async (_request, caller) => {
      await mayManage(caller);
      return toWire(policy.current());
    }),
    authenticated(setPolicy, async ({ body }, caller) => {
      await mayManage(caller);
      const stored = await policy.set(body.text, {
        by: caller,
        ...(body.if_version === undefined ? {} : { ifVersion: body.if_version }),
        ...(body.allow_lockout === undefined ? {} : { allowLockout: body.allow_lockout }),
      });
      return toWire(stored);
    }),
  ];
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
