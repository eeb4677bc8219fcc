/** Where Google's logins are, and what they have in common. */
import type { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { HttpService, readAuthorities, safeOrigin } from "../http-service.ts";
import { type FullPorts, metadataPorts } from "../ports.ts";
import type { Fresh } from "../renewing.ts";

export type GoogleLoginPorts = Pick<FullPorts, "env" | "clock" | "random" | "signal">;
export type GoogleLogin = (scope: string) => Promise<Fresh<GuardedBytes>>;

/** Of Google alone, or of this machine: a file of credentials must not send them elsewhere. */
export async function serviceAt(place: string, ports: GoogleLoginPorts): Promise<HttpService> {
  const url = safeOrigin(place);
  const google = url !== undefined && (url.protocol === "http:" || /(^|\.)googleapis\.com$/.test(url.hostname));
  if (!google) throw missing("the file of credentials names a service that is not Google's");
  const ca = await readAuthorities(ports.env.CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE);
  return new HttpService(url.origin, metadataPorts(ports, "far"), { ca });
}

export function missing(detail: string): Error {
  return backendError("KMS_CREDENTIALS_MISSING", {
    detail,
    hint: "export GOOGLE_APPLICATION_CREDENTIALS=FILE.json",
  });
}
