/** Policy's answer to "may this token use this model", remembered until policy changes. */
import type { Authorizer, Caller, Clock, PolicyDecision } from "../base/index.ts";
import { GATEWAY_INTERNALS } from "./limits.ts";
import type { ModelTarget } from "./providers.ts";

export class Decisions {
  readonly #authorizer: () => Authorizer;
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly decision: PolicyDecision; readonly until: number }>();
  #decidedBy: Authorizer | undefined;

  constructor(authorizer: () => Authorizer, clock: Clock) {
    this.#authorizer = authorizer;
    this.#clock = clock;
  }

  mayUse(caller: Caller, target: ModelTarget): PolicyDecision {
    const authorizer = this.#authorizer();
    if (authorizer !== this.#decidedBy) this.clear();
    this.#decidedBy = authorizer;
    const id = `${caller.tokenId}\n${target.id}`;
    const now = this.#clock.monotonic();
    const known = this.#known.get(id);
    if (known && now < known.until) return known.decision;
    const decision = decide(authorizer, caller, target);
    if (this.#known.size >= GATEWAY_INTERNALS.decisions) this.#known.clear();
    this.#known.set(id, { decision, until: now + GATEWAY_INTERNALS.decisionMilliseconds });
    return decision;
  }

  clear(): void {
    this.#known.clear();
  }
}

function decide(authorizer: Authorizer, caller: Caller, target: ModelTarget): PolicyDecision {
  return authorizer.decide({
    principal: caller.principal,
    groups: caller.groups,
    action: "useModel",
    resource: { type: "ProviderModel", id: target.id },
    context: {},
  });
}
