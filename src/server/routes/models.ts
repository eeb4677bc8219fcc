/** Answers the routes of the model registry. */
import { type Caller, entityText } from "../../base/index.ts";
import * as contract from "../../contract/index.ts";
import { serverError } from "../errors.ts";
import { authenticated, type Implementation } from "../handler.ts";
import type { ModelRegistry } from "../models.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

export interface ModelRouteServices extends PolicyPorts {
  readonly models: ModelRegistry;
  /** Told after a model was registered, and after a host said that it loaded one. */
  readonly onPublished: () => void;
  readonly onLoaded: (ref: string) => Promise<void>;
}

export function modelRoutes(services: ModelRouteServices): Implementation[] {
  const { models } = services;
  return [
    authenticated(contract.publishModel, async ({ body }, caller) => {
      const model = await models.publish(body, caller);
      services.onPublished();
      return model;
    }),
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
    authenticated(contract.reportLoad, async ({ params, body }, caller) => {
      const ref = params.ref ?? "";
      await requireDecision(services, caller, "readModel", { type: "Model", id: ref });
      if (!(await models.get(ref))) throw serverError("MODEL_NOT_FOUND", { detail: ref.slice(0, 200) });
      await recordLoad(services, caller, ref, body);
      if (body.outcome === "loaded") await services.onLoaded(ref);
      return { recorded: true } as const;
    }),
  ];
}

/** The digest is the host's word: that of the published model stands in its own events. */
async function recordLoad(ports: PolicyPorts, caller: Caller, ref: string, report: contract.LoadReport): Promise<void> {
  const { package_id, root_digest, outcome, reason } = report;
  await ports.recorder.record({
    action: "model.load",
    outcome: outcome === "loaded" ? "allowed" : "refused",
    principal: entityText(caller.principal),
    resource: entityText({ type: "Model", id: ref }),
    modelRoot: root_digest,
    ...(reason === undefined ? {} : { reason: [reason] }),
    data: { reported: true, package_id, token: caller.tokenId },
  });
}
