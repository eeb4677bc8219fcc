/** `gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/N]`: a key of Google Cloud KMS. */
import { backendError } from "../errors.ts";
import { safeOrigin } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";

export interface GoogleKey {
  readonly uri: string;
  /** The resource name of the key, without a version. */
  readonly name: string;
  readonly version: string | undefined;
  readonly origin: string;
}

const URI =
  /^gcpkms:\/\/(projects\/[a-z][a-z0-9.:-]{1,80}\/locations\/[a-z0-9-]{1,40}\/keyRings\/[\w-]{1,63}\/cryptoKeys\/[\w-]{1,63})(?:\/cryptoKeyVersions\/([1-9]\d{0,8}))?$/;
const ORIGIN = "https://cloudkms.googleapis.com/";

/** CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS names another endpoint, such as a regional one. Throws KMS_URI_UNKNOWN. */
export function parseGoogleUri(text: string, env: Readonly<Record<string, string | undefined>>): GoogleKey {
  const [, name, version] = (text.length <= BACKEND_LIMITS.uriCharacters && URI.exec(text)) || [];
  if (name === undefined)
    throw backendError("KMS_URI_UNKNOWN", {
      detail: "it is gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K, and /cryptoKeyVersions/N to sign",
    });
  const endpoint = safeOrigin(env.CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS || ORIGIN);
  if (endpoint?.pathname !== "/" || endpoint.search !== "")
    throw backendError("KMS_URI_UNKNOWN", { detail: "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS is https://HOST/" });
  return { uri: text, name, version, origin: endpoint.origin };
}
