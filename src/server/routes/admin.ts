/** Answers the route about the server itself. */
import { serverInfo } from "../../contract/index.ts";
import { guardedMemoryLevel, processInfo } from "../../host/index.ts";
import { authenticated, type Implementation } from "../handler.ts";

export interface AdminRouteServices {
  readonly version: string;
  /** `sqlite` or `postgres`. */
  readonly storeKind: string;
  readonly attestationKinds: readonly string[];
}

export function adminRoutes(services: AdminRouteServices): Implementation[] {
  return [
    authenticated(serverInfo, async () => ({
      version: services.version,
      node: processInfo().nodeVersion,
      store: services.storeKind,
      guarded_memory: guardedMemoryLevel().about,
      attestation: [...services.attestationKinds],
      insecure: services.attestationKinds.filter((kind) => kind.startsWith("insecure")),
    })),
  ];
}
