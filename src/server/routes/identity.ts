/** Answers the routes of the server as an identity provider. */
import { entityText, type Recorder } from "../../base/index.ts";
import * as contract from "../../contract/index.ts";
import { authenticated, type Implementation, open } from "../handler.ts";
import type { PublicIdentityKey, ServerIdentity } from "../identity.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

const LOCAL = { type: "Server", id: "local" };

export interface IdentityRouteServices extends PolicyPorts {
  readonly identity: ServerIdentity;
  readonly recorder: Recorder;
}

/** The first of each algorithm. */
function inUse(keys: readonly PublicIdentityKey[]): string[] {
  return [...new Map([...keys].reverse().map(({ alg, kid }) => [alg, kid])).values()];
}

export function identityRoutes(services: IdentityRouteServices): Implementation[] {
  const { identity, recorder } = services;
  return [
    open(contract.getIdentityProvider, async ({ url }) => {
      const issuer = identity.issuer ?? new URL(url).origin;
      return {
        issuer,
        jwks_uri: `${issuer}${contract.getIdentityKeys.path}`,
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["ES256", "RS256"],
        claims_supported: ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"],
      };
    }),
    open(contract.getIdentityKeys, async () => ({ keys: [...(await identity.keys.published())] })),
    authenticated(contract.rotateIdentityKey, async (_request, caller) => {
      await requireDecision(services, caller, "manageSecret", LOCAL);
      const keys = await identity.keys.rotate();
      await recorder.record({
        ...{ action: "identity.rotate", outcome: "allowed", principal: entityText(caller.principal) },
        ...{ resource: entityText(LOCAL), reason: [], data: { key_ids: inUse(keys) } },
      });
      return { keys: [...keys] };
    }),
  ];
}
