/** Secrets of Google Secret Manager: `NAME[?version=N]`. */
import { type BackendPorts, openGoogleSecrets } from "../../backends/index.ts";
import type { Keeper } from "./keeper.ts";

/** `gcpsm://projects/P[/locations/L]`. */
export async function openGoogleKeeper(uri: string, ports: BackendPorts): Promise<Keeper> {
  const secrets = await openGoogleSecrets(uri, ports);
  return {
    grammar: { path: /^[\w-]{1,255}$/, query: { version: /^[\w-]{1,63}$/ }, hasField: false },
    read: ({ path, query }) => secrets.read({ name: path, version: query.version }),
  };
}
