/** `oci://HOST[:PORT]/REPOSITORY[:TAG|@sha256:HEX]`: a place in a registry (OCI distribution specification 1.1). */
import { isLoopback } from "../http-service.ts";
import { storeError } from "../objects/errors.ts";
import { STORE_LIMITS } from "../objects/limits.ts";

export interface OciPlace {
  /** Without credentials, as it was given. */
  readonly uri: string;
  readonly origin: string;
  readonly host: string;
  readonly repository: string;
  /** A tag, or `sha256:` with a digest, which can only be read. */
  readonly reference: string;
}

const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const URI = new RegExp(
  `^oci://(${LABEL}(?:\\.${LABEL})*(?::\\d{1,5})?|\\[[0-9a-f:]+\\](?::\\d{1,5})?)/(${COMPONENT}(?:/${COMPONENT})*)` +
    "(?:@(sha256:[0-9a-f]{64})|:([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?$",
);
const DOCKER_HUB = "registry-1.docker.io";

/** Only a registry on this machine is asked without TLS. `docker.io` is known by its other name. Throws STORE_URI_INVALID. */
export function parseOciUri(text: string): OciPlace {
  const [, given, repository, digest, tag] = (text.length <= STORE_LIMITS.uriCharacters && URI.exec(text)) || [];
  if (given === undefined || repository === undefined || repository.length > 255)
    throw storeError("STORE_URI_INVALID", { detail: "it is oci://HOST/REPOSITORY:TAG or …@sha256:HEX" });
  const host = given === "docker.io" ? DOCKER_HUB : given;
  const scheme = isLoopback(host.replace(/:\d+$/, "")) ? "http" : "https";
  if (!URL.canParse(`${scheme}://${host}`))
    throw storeError("STORE_URI_INVALID", { detail: `${host.slice(0, 100)} is no host` });
  return { uri: text, origin: `${scheme}://${host}`, host, repository, reference: digest ?? tag ?? "latest" };
}
