/** Answers the routes of advisories. */
import * as contract from "../../contract/index.ts";
import type { AdvisoryWatch } from "../advisory-watch.ts";
import { authenticated, type Implementation } from "../handler.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

export interface AdvisoryRouteServices extends PolicyPorts {
  /** Undefined when the configuration names no advisories. */
  readonly watch: AdvisoryWatch | undefined;
}

export function advisoryRoutes(services: AdvisoryRouteServices): Implementation[] {
  return [
    authenticated(contract.listAffected, async (_request, caller) => {
      await requireDecision(services, caller, "readModel", { type: "Server", id: "local" });
      const { matchedAtMs, weaknesses } = services.watch?.affected() ?? { matchedAtMs: undefined, weaknesses: [] };
      const at = matchedAtMs === undefined ? {} : { matched_at: new Date(matchedAtMs).toISOString() };
      return { ...at, weaknesses: [...weaknesses] };
    }),
  ];
}
