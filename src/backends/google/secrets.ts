/** Secrets of Google Secret Manager, v1, by version; a checksum tells of bytes that changed on their way. */
import { z } from "zod";
import { wipe } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import { type HttpAnswer, HttpService, readAuthorities, safeOrigin } from "../http-service.ts";
import { takeMember } from "../json-bytes.ts";
import type { CachedTokens } from "../oauth.ts";
import { type BackendPorts, fullPorts } from "../ports.ts";
import { decodeBase64, readAnswer } from "../secret-json.ts";
import { type FoundValue, orNothing } from "../secret-value.ts";
import { crc32c } from "./crc32c.ts";
import { googleErrorOf } from "./errors.ts";
import { openGoogleTokens } from "./login.ts";

const SCOPE = "https://www.googleapis.com/auth/cloud-platform";
const URI = /^gcpsm:\/\/(projects\/[a-z0-9][a-z0-9.:-]{1,80}(?:\/locations\/[a-z0-9-]{1,40})?)$/;
const accessSchema = z.object({
  name: z.string().max(1_024),
  payload: z.object({ dataCrc32c: z.string().regex(/^\d{1,10}$/) }),
});

export interface GoogleSecretPlace {
  readonly name: string;
  /** A number or an alias; `latest` when absent. */
  readonly version?: string | undefined;
}

/**
 * `gcpsm://projects/P[/locations/L]`. CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER names another endpoint. Throws
 * KMS_URI_UNKNOWN.
 */
export async function openGoogleSecrets(uri: string, given: BackendPorts): Promise<GoogleSecrets> {
  const ports = fullPorts(given);
  const { CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER: other, CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE: ca } = ports.env;
  const parent = URI.exec(uri)?.[1];
  const location = /locations\/(.+)$/.exec(parent ?? "")?.[1];
  const usual = `https://secretmanager.${location === undefined ? "" : `${location}.rep.`}googleapis.com/`;
  const endpoint = safeOrigin(other || usual);
  if (parent === undefined || endpoint?.pathname !== "/")
    throw backendError("KMS_URI_UNKNOWN", { detail: "it is gcpsm://projects/PROJECT[/locations/LOCATION]" });
  const hint = "name its authority: export CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE=FILE.pem";
  const http = new HttpService(endpoint.origin, ports, { ca: await readAuthorities(ca), hint });
  return new GoogleSecrets(parent, http, openGoogleTokens(ports));
}

export class GoogleSecrets {
  readonly #parent: string;
  readonly #http: HttpService;
  readonly #tokens: CachedTokens;

  constructor(parent: string, http: HttpService, tokens: CachedTokens) {
    this.#parent = parent;
    this.#http = http;
    this.#tokens = tokens;
  }

  /** Undefined when there is no such secret or version. */
  read({ name, version = "latest" }: GoogleSecretPlace): Promise<FoundValue | undefined> {
    return orNothing(async () => {
      const path = `${this.#parent}/secrets/${name}/versions/${version}`;
      const answer = await this.#send(`/v1/${path}:access`);
      try {
        if (answer.status !== 200) throw googleErrorOf(answer, `gcpsm://${path}`);
        return { value: payloadOf(answer) };
      } finally {
        wipe(answer.body);
      }
    });
  }

  /** A token that is refused is fetched anew, once. */
  async #send(path: string): Promise<HttpAnswer> {
    for (let round = 1; ; round++) {
      const token = await this.#tokens.token(SCOPE);
      const headers = () => ({ authorization: `Bearer ${Buffer.from(token).toString("latin1")}` });
      const answer = await this.#http
        .send(() => ({ method: "GET", path, headers: headers() }), { repeatable: true })
        .finally(() => wipe(token));
      if (answer.status !== 401 || round > 1) return answer;
      this.#tokens.drop(SCOPE);
    }
  }
}

function payloadOf(answer: HttpAnswer): Uint8Array {
  const encoded = takeMember(answer.body, ["payload", "data"]);
  const value = encoded && decodeBase64(encoded);
  wipe(encoded ?? new Uint8Array(0));
  try {
    if (value && readAnswer(answer, accessSchema).payload.dataCrc32c === crc32c(value)) return value;
  } catch (error) {
    wipe(value ?? new Uint8Array(0));
    throw error;
  }
  wipe(value ?? new Uint8Array(0));
  throw backendError("KMS_ANSWER_INVALID", { detail: "the payload and its checksum" });
}
