/** `azurekms://HOST/KEY[/VERSION]`: a key of Azure Key Vault or Managed HSM. */
import { backendError } from "../errors.ts";
import { isLoopback } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";

export interface AzureKey {
  /** Without a query. */
  readonly uri: string;
  readonly origin: string;
  readonly host: string;
  readonly name: string;
  readonly version: string | undefined;
  /** Whom a token is asked for; told by the host alone, whatever the host says. */
  readonly resource: string;
}

const URI =
  /^azurekms:\/\/([a-zA-Z0-9.-]{1,253}(?::\d{1,5})?)\/([a-zA-Z0-9-]{1,127})(?:\/([0-9a-f]{32}))?(\?insecure-http=1)?$/;
/** The services of the clouds that there are. */
const DOMAIN = /^[a-z0-9-]{3,64}\.((?:vault|managedhsm)\.(?:azure\.net|azure\.cn|usgovcloudapi\.net))$/;

/** `insecure-http=1` is for a service on this machine, which is taken for a vault. Throws KMS_URI_UNKNOWN. */
export function parseAzureUri(text: string): AzureKey {
  const [, host, name, version, insecure] = (text.length <= BACKEND_LIMITS.uriCharacters && URI.exec(text)) || [];
  if (host === undefined || name === undefined)
    throw backendError("KMS_URI_UNKNOWN", { detail: "it is azurekms://NAME.vault.azure.net/KEY[/VERSION]" });
  const url = URL.parse(`${insecure ? "http" : "https"}://${host}`);
  const own = url && isLoopback(url.hostname);
  const domain = own ? "vault.azure.net" : DOMAIN.exec(host.toLowerCase())?.[1];
  if (!url || domain === undefined || (insecure && !own))
    throw backendError("KMS_URI_UNKNOWN", {
      detail: `${host.slice(0, 100)} is no vault of Azure: it ends in vault.azure.net or managedhsm.azure.net`,
    });
  return {
    uri: `azurekms://${url.host}/${name}${version === undefined ? "" : `/${version}`}`,
    origin: url.origin,
    host: url.host,
    name,
    version,
    resource: `https://${domain}`,
  };
}
