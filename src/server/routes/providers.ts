/** Answers the routes of providers. */
import * as contract from "../../contract/index.ts";
import type { Provider, ProviderService } from "../../gateway/index.ts";
import { authenticated, type Implementation } from "../handler.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

export interface ProviderRouteServices extends PolicyPorts {
  readonly providers: ProviderService;
}

const LOCAL = { type: "Server", id: "local" };

export function providerRoutes(services: ProviderRouteServices): Implementation[] {
  const { providers } = services;
  return [
    authenticated(contract.setProvider, async ({ params, body }, caller) => {
      await requireDecision(services, caller, "manageProvider", LOCAL);
      const { kind, base_url: baseUrl, secret, models } = body;
      // The gateway sends this secret to that address: whoever chooses both could read any secret.
      await requireDecision(services, caller, "manageSecret", { type: "Secret", id: secret });
      const name = params.name ?? "";
      return toWire(await providers.set({ name, kind, baseUrl, secret, models }, { by: caller.principal }));
    }),
    authenticated(contract.listProviders, async (_request, caller) => {
      await requireDecision(services, caller, "manageProvider", LOCAL);
      return { providers: providers.list().map(toWire) };
    }),
    authenticated(contract.deleteProvider, async ({ params }, caller) => {
      await requireDecision(services, caller, "manageProvider", LOCAL);
      const name = params.name ?? "";
      await providers.delete(name, { by: caller.principal });
      return { deleted: name };
    }),
  ];
}

function toWire(provider: Provider) {
  return {
    name: provider.name,
    kind: provider.kind,
    base_url: provider.baseUrl,
    secret: provider.secret,
    models: [...provider.models],
    created_at: new Date(provider.createdAt).toISOString(),
    updated_at: new Date(provider.updatedAt).toISOString(),
  };
}
