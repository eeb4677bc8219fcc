/** Answers the routes of the model registry. */
import * as contract from "../../contract/index.ts";
import { serverError } from "../errors.ts";
import { authenticated, type Implementation } from "../handler.ts";
import type { ModelRegistry } from "../models.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

export interface ModelRouteServices extends PolicyPorts {
  readonly models: ModelRegistry;
}

export function modelRoutes(services: ModelRouteServices): Implementation[] {
  const { models } = services;
  return [
    authenticated(contract.publishModel, ({ body }, caller) => models.publish(body, caller)),
    authenticated(contract.listModels, async ({ body }, caller) => {
      await requireDecision(services, caller, "readModel", { type: "Server", id: "local" });
      return models.list(body.after);
    }),
    authenticated(contract.getModel, async ({ params }, caller) => {
      const ref = params.ref ?? "";
      await requireDecision(services, caller, "readModel", { type: "Model", id: ref });
      const model = await models.get(ref);
      if (!model) throw serverError("MODEL_NOT_FOUND", { detail: ref.slice(0, 200) });
      return model;
    }),
  ];
}
