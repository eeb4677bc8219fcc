/** `az://ACCOUNT/CONTAINER[/PREFIX]`: a container of Azure Blob Storage. */
import { storeError } from "../objects/errors.ts";
import { STORE_LIMITS } from "../objects/limits.ts";
import { baseOf, secureOrigin } from "../objects/origin.ts";

export interface AzurePlace {
  /** Without credentials, as it was given. */
  readonly uri: string;
  readonly account: string;
  readonly container: string;
  /** What every name begins with: empty, or with a slash at its end. */
  readonly base: string;
  readonly origin: string;
  /** The path of the account below the origin: empty in Azure itself. */
  readonly root: string;
}

const URI = /^az:\/\/([a-z0-9]{3,24})\/([a-z0-9](?:-?[a-z0-9]){2,62}|\$root)(?:\/(.*))?$/;

/** The endpoint is AZURE_STORAGE_SERVICE_ENDPOINT where it is set. Throws STORE_URI_INVALID. */
export function parseAzureUri(text: string, env: Readonly<Record<string, string | undefined>>): AzurePlace {
  const [, account, container, rest] = (text.length <= STORE_LIMITS.uriCharacters && URI.exec(text)) || [];
  if (account === undefined || container === undefined)
    throw storeError("STORE_URI_INVALID", { detail: "it is az://ACCOUNT/CONTAINER or az://ACCOUNT/CONTAINER/PREFIX" });
  const name = "AZURE_STORAGE_SERVICE_ENDPOINT";
  const url = secureOrigin(env[name] || `https://${account}.blob.core.windows.net`, name);
  const root = url.pathname.replace(/\/$/, "");
  return { uri: text, account, container, base: baseOf(rest), origin: url.origin, root };
}
