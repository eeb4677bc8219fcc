/** Secrets of Vault and OpenBao: `MOUNT/PATH[?version=N][#FIELD]`, or an engine that lends, asked with its parameters. */
import { type BackendPorts, openVaultSecrets } from "../../backends/index.ts";
import type { Keeper, ReferenceGrammar } from "./keeper.ts";

const VERSION = /^[1-9]\d{0,8}$/;
const grammar: ReferenceGrammar = {
  path: /^[A-Za-z0-9_][\w.@:~-]*(?:\/[\w.@:~-]+)+$/,
  query: { version: VERSION, "*": /^[^\p{Cc}]{1,500}$/u },
  hasField: true,
};

/**
 * `vault://HOST[:PORT][?namespace=NS]`. The engine says whether a value is lent: its lease is renewed when somebody
 * needs it for longer, and revoked there with the last one who does.
 */
export async function openVaultKeeper(uri: string, ports: BackendPorts): Promise<Keeper> {
  const vault = await openVaultSecrets(uri, ports);
  return {
    grammar,
    read({ path, query, field }) {
      const { version, ...parameters } = query;
      return vault.read({
        path: path.split("/").map(encodeURIComponent).join("/"),
        field,
        version: version === undefined ? undefined : Number(version),
        parameters: Object.keys(parameters).length === 0 ? undefined : parameters,
      });
    },
    renew: (leaseId, ttlSeconds) => vault.renew(leaseId, ttlSeconds),
    revoke: (leaseId) => vault.revoke(leaseId),
  };
}
