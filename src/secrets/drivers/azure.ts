/** Secrets of Azure Key Vault: `NAME[?version=ID]`. */
import { type BackendPorts, openAzureSecrets } from "../../backends/index.ts";
import type { Keeper } from "./keeper.ts";

/** `azurekv://NAME.vault.azure.net`. */
export async function openAzureKeeper(uri: string, ports: BackendPorts): Promise<Keeper> {
  const secrets = await openAzureSecrets(uri, ports);
  return {
    grammar: { path: /^[a-zA-Z0-9-]{1,127}$/, query: { version: /^[0-9a-f]{32}$/ }, hasField: false },
    read: ({ path, query }) => secrets.read({ name: path, version: query.version }),
  };
}
