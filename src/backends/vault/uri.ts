/** `vault://HOST[:PORT]/MOUNT/KEY`: a transit key of Vault or OpenBao. */
import { backendError } from "../errors.ts";
import { isLoopback } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";

export interface VaultKey {
  /** Without credentials and query, as it is written into envelopes. */
  readonly uri: string;
  readonly origin: string;
  readonly namespace: string | undefined;
  /** May hold slashes. */
  readonly mount: string;
  readonly key: string;
}

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const NAMESPACE = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}(\/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}){0,15}$/;
const PARAMETERS = new Set(["namespace", "insecure-http"]);

/**
 * Query: `namespace=NS` (else VAULT_NAMESPACE), and `insecure-http=1` for a service on this machine without TLS.
 * Throws KMS_URI_UNKNOWN.
 */
export function parseVaultUri(text: string, env: Readonly<Record<string, string | undefined>>): VaultKey {
  const url = parseUrl(text);
  const segments = url.pathname.slice(1).replace(/\/$/, "").split("/");
  const key = segments.pop() ?? "";
  if (segments.length === 0 || segments.length > 8 || ![...segments, key].every((part) => SEGMENT.test(part)))
    throw backendError("KMS_URI_UNKNOWN", { detail: "it is vault://HOST[:PORT]/MOUNT/KEY" });
  const namespace = url.searchParams.get("namespace") ?? (env.VAULT_NAMESPACE || undefined);
  const clean = namespace?.replace(/^\/+|\/+$/g, "");
  if (clean !== undefined && !NAMESPACE.test(clean))
    throw backendError("KMS_URI_UNKNOWN", { detail: "the namespace is not one" });
  const mount = segments.join("/");
  const query = clean === undefined ? "" : `?namespace=${encodeURIComponent(clean)}`;
  return {
    uri: `vault://${url.host}/${mount}/${key}${query}`,
    origin: `${schemeOf(url)}://${url.host}`,
    namespace: clean,
    mount,
    key,
  };
}

function parseUrl(text: string): URL {
  if (text.length > BACKEND_LIMITS.uriCharacters) throw backendError("KMS_URI_UNKNOWN", { detail: "it is too long" });
  // The text is read as https, since URL treats hosts of schemes that it does not know in another way.
  const url = URL.parse(text.replace(/^vault:/, "https:"));
  if (!url || !text.startsWith("vault://")) throw backendError("KMS_URI_UNKNOWN", { detail: "it names no host" });
  // URL resolves `..`, which no mount has.
  if (url.pathname !== text.replace(/^vault:\/\/[^/?#]*/, "").split(/[?#]/)[0])
    throw backendError("KMS_URI_UNKNOWN", { detail: "the path is not plain" });
  if (url.username !== "" || url.password !== "")
    throw backendError("KMS_URI_UNKNOWN", {
      detail: "credentials are not part of the URI",
      hint: "export VAULT_TOKEN",
    });
  const names = [...url.searchParams.keys()];
  const odd = names.find((name, index) => !PARAMETERS.has(name) || names.indexOf(name) !== index);
  if (odd !== undefined || url.hash !== "")
    throw backendError("KMS_URI_UNKNOWN", { detail: `the parameter ${(odd ?? "#").slice(0, 40)}` });
  return url;
}

function schemeOf(url: URL): "http" | "https" {
  if (!url.searchParams.has("insecure-http")) return "https";
  if (url.searchParams.get("insecure-http") !== "1" || !isLoopback(url.hostname))
    throw backendError("KMS_URI_UNKNOWN", { detail: "insecure-http=1 is for a service on this machine alone" });
  return "http";
}
