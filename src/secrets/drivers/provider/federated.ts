/** Tokens of a provider for a token that this server signs: `IDENTITY[?…]` says whom to become there. */
import { type BackendPorts, type IdentityAlgorithm, openFederation } from "../../../backends/index.ts";
import { secretError } from "../../errors.ts";
import type { Keeper } from "../keeper.ts";

export interface IdentityRequest {
  readonly audience: string;
  readonly subject: string;
  readonly algorithm: IdentityAlgorithm;
}

export interface FederatedPorts extends BackendPorts {
  /** Signs a token of minutes for that audience; the caller wipes it. Undefined where the server has no name for it. */
  readonly issueIdentity: ((to: IdentityRequest) => Promise<Uint8Array>) | undefined;
}

/**
 * `federation:PROVIDER[?name=value…]`: `anthropic` (organization, rule), `aws` (region), `azure` (tenant), `google`
 * (provider), `openai` (provider), `openrouter`. The subject of our tokens is `modelkeep:NAME`, by the driver's name.
 */
export async function openFederatedKeeper(uri: string, ports: FederatedPorts, name: string): Promise<Keeper> {
  const [provider = "", query = ""] = uri.replace("federation:", "").split("?");
  const { issueIdentity } = ports;
  if (!issueIdentity)
    throw secretError("KEEPER_UNKNOWN", {
      detail: "other services must reach this server's keys to believe its tokens",
      hint: "set public_url to an https address of this server",
    });
  const federation = await openFederation(provider, Object.fromEntries(new URLSearchParams(query)), ports);
  return {
    makes: true,
    grammar: {
      path: /^[\w+=,.@:/-]{1,600}$/,
      query: { scope: /^[\x21-\x7e]{1,300}$/, workspace: /^[\w-]{1,128}$/, session: /^[\w+=,.@-]{2,64}$/ },
      hasField: false,
    },
    async read({ path, query: more }) {
      const { audience, algorithm } = federation;
      const token = await issueIdentity({ audience, subject: `modelkeep:${name}`, algorithm });
      return federation.exchange(token, { identity: path, query: more });
    },
  };
}
