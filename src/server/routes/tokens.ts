/** Answers the routes of tokens: enrolment, listing, revocation, and who the caller is. */
import { type EntityRef, ModelkeepError } from "../../base/index.ts";
import * as contract from "../../contract/index.ts";
import type { SecretService } from "../../secrets/index.ts";
import type { TokenInfo, TokenService } from "../../tokens/index.ts";
import { authenticated, type Implementation } from "../handler.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

export interface TokenRouteServices extends PolicyPorts {
  readonly tokens: TokenService;
  readonly secrets: Pick<SecretService, "revoke">;
}

const LOCAL = { type: "Server", id: "local" };
const ADMINS = "admins";

export function tokenRoutes(services: TokenRouteServices): Implementation[] {
  const { tokens } = services;
  return [
    authenticated(contract.issueEnrolment, async ({ body }, caller) => {
      await requireDecision(services, caller, "enrol", LOCAL);
      const { code, expiresAt } = await tokens.enrol({
        principal: { type: body.admin ? "Admin" : "Workload", id: body.workload },
        groups: [...(body.admin ? [ADMINS] : []), ...(body.groups ?? [])],
        by: caller.principal,
        ...(body.ttl_seconds === undefined ? {} : { ttlSeconds: body.ttl_seconds }),
      });
      return { code, expires_at: isoTime(expiresAt), workload: body.workload };
    }),
    authenticated(contract.listTokens, async (_request, caller) => {
      await requireDecision(services, caller, "revokeToken", LOCAL);
      return { tokens: (await tokens.list()).map(toWire) };
    }),
    authenticated(contract.revokeToken, async ({ body }, caller) => {
      const target: Target = "token" in body ? { tokenId: body.token } : body;
      const own = "tokenId" in target && target.tokenId === caller.tokenId;
      if (!own) await requireDecision(services, caller, "revokeToken", LOCAL);
      return endAccess(services, target, caller.principal);
    }),
    authenticated(contract.whoAmI, async (_request, { principal, groups, tokenId, expiresAt, keyThumbprint }) => ({
      principal,
      groups: [...groups],
      token: tokenId,
      expires_at: isoTime(expiresAt),
      key_thumbprint: keyThumbprint,
    })),
  ];
}

type Target = { readonly tokenId: string } | { readonly principal: TokenInfo["principal"] };

/**
 * Tokens first: a check-out that is under way looks at its token once more when its lease is open. Leases end also for a
 * principal whose tokens ended before.
 */
async function endAccess({ tokens, secrets }: TokenRouteServices, target: Target, by: EntityRef) {
  const token = "tokenId" in target ? await tokens.show(target.tokenId) : undefined;
  const holder = "tokenId" in target ? token?.principal : target.principal;
  const revoked = await tokens.revoke(target, { by }).catch((error: unknown) => ({ error }));
  const filter = holder && { holder, ...(token ? { boundTo: token.keyThumbprint } : {}) };
  const leases = filter ? (await secrets.revoke(filter, { by })).length : 0;
  if (!("error" in revoked)) return { ...revoked, leases };
  const { error } = revoked;
  const hadNothingElse = error instanceof ModelkeepError && error.code === "PRINCIPAL_NOT_FOUND";
  if (!hadNothingElse || leases === 0 || "tokenId" in target) throw error;
  return { principal: target.principal, codes: 0, keys: 0, tokens: 0, leases };
}

function toWire({ id, principal, groups, issuedAt, expiresAt, keyThumbprint }: TokenInfo) {
  return {
    id,
    principal,
    groups: [...groups],
    issued_at: isoTime(issuedAt),
    expires_at: isoTime(expiresAt),
    key_thumbprint: keyThumbprint,
  };
}

function isoTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
