/** Answers the routes of advisories. */
import type { Caller, Clock } from "../../base/index.ts";
import * as contract from "../../contract/index.ts";
import type { AdvisoryWatch } from "../advisory-watch.ts";
import { serverError } from "../errors.ts";
import { authenticated, type Implementation } from "../handler.ts";
import { type Waivers, waiverDays, waiverResource } from "../waivers.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

const LOCAL = { type: "Server", id: "local" };

export interface AdvisoryRouteServices extends PolicyPorts {
  /** Undefined when the configuration names no advisories. */
  readonly watch: AdvisoryWatch | undefined;
  readonly waivers: Waivers;
  readonly clock: Pick<Clock, "now">;
}

export function advisoryRoutes(services: AdvisoryRouteServices): Implementation[] {
  const { waivers } = services;
  return [
    authenticated(contract.listAffected, async (_request, caller) => {
      await requireDecision(services, caller, "readModel", LOCAL);
      const { matchedAtMs, weaknesses } = services.watch?.affected() ?? { matchedAtMs: undefined, weaknesses: [] };
      const at = matchedAtMs === undefined ? {} : { matched_at: new Date(matchedAtMs).toISOString() };
      return { ...at, weaknesses: [...weaknesses] };
    }),
    authenticated(contract.listWaivers, async (_request, caller) => {
      await requireDecision(services, caller, "readModel", LOCAL);
      return { waivers: await waivers.list() };
    }),
    authenticated(contract.addWaiver, async ({ body }, caller) => {
      await mayWaive(services, caller, body);
      const waiver = await waivers.add(body, caller);
      services.watch?.soon();
      return waiver;
    }),
    authenticated(contract.removeWaiver, async ({ params }, caller) => {
      const id = params.id ?? "";
      const waiver = await waivers.get(id);
      await mayWaive(services, caller, waiver ?? { weakness: id.slice(0, 100), expires: "1970-01-01" });
      if (!waiver) throw serverError("WAIVER_NOT_FOUND", { detail: id.slice(0, 100) });
      await waivers.remove(waiver, caller);
      services.watch?.soon();
      return { removed: true } as const;
    }),
  ];
}

type Waived = Pick<contract.NewWaiver, "weakness" | "model" | "package" | "expires">;

/** Who may accept a weakness may take that back. */
function mayWaive(services: AdvisoryRouteServices, caller: Caller, waiver: Waived): Promise<void> {
  const days = waiverDays(waiver, services.clock.now());
  const about = waiver.package === undefined ? {} : { package: waiver.package };
  const context = { weakness: waiver.weakness, days, ...about };
  return requireDecision(services, caller, "waiveWeakness", waiverResource(waiver), context);
}
