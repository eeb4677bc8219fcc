/** Requests to one key of Azure Key Vault or Managed HSM, with a token that only its own service may see. */
import { z } from "zod";
import { type ModelkeepError, wipe } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import { type HttpAnswer, HttpService, readAuthorities } from "../http-service.ts";
import type { CachedTokens } from "../oauth.ts";
import { type BackendPorts, fullPorts } from "../ports.ts";
import { readAnswer } from "../secret-json.ts";
import { azureErrorOf, challengeError } from "./errors.ts";
import { openAzureTokens } from "./login.ts";
import { type AzureKey, parseAzureUri } from "./uri.ts";

const API = "api-version=7.4";

const keySchema = z.object({
  key: z.object({
    kid: z.string().max(1_024),
    kty: z.string().max(32),
    key_ops: z.array(z.string().max(32)).max(32).optional(),
    crv: z.string().max(32).optional(),
    x: z.string().max(128).optional(),
    y: z.string().max(128).optional(),
  }),
  attributes: z.object({ enabled: z.boolean().optional() }).optional(),
});

export type AzureKeyInfo = z.output<typeof keySchema>["key"] & { readonly version: string };

export class AzureClient {
  readonly key: AzureKey;
  /** Without scheme and version. */
  readonly keyId: string;
  readonly #http: HttpService;
  readonly #tokens: CachedTokens;

  private constructor(key: AzureKey, http: HttpService, tokens: CachedTokens) {
    this.key = key;
    this.keyId = `${key.host}/keys/${key.name}`;
    this.#http = http;
    this.#tokens = tokens;
  }

  static async open(uri: string, given: BackendPorts): Promise<AzureClient> {
    const ports = fullPorts(given);
    const key = parseAzureUri(uri);
    const ca = await readAuthorities(ports.env.SSL_CERT_FILE);
    const http = new HttpService(key.origin, ports, { ca, hint: "name its authority: export SSL_CERT_FILE=FILE.pem" });
    return new AzureClient(key, http, openAzureTokens(ports));
  }

  /** Of the version in the URI, else of the latest one. Throws KMS_KEY_DISABLED for one that is not enabled. */
  async info(): Promise<AzureKeyInfo> {
    const { name, version } = this.key;
    const path = `/keys/${name}${version === undefined ? "" : `/${version}`}`;
    const answer = this.#accept(await this.#send("GET", path, undefined));
    const { key, attributes } = readAnswer(answer, keySchema);
    if (attributes?.enabled === false)
      throw backendError("KMS_KEY_DISABLED", { detail: `${this.key.uri} is not enabled` });
    return { ...key, version: this.versionOf(key.kid, version) };
  }

  /** The body is wiped. */
  async post(operation: string, version: string, body: Uint8Array, bad?: () => ModelkeepError): Promise<HttpAnswer> {
    try {
      return this.#accept(await this.#send("POST", `/keys/${this.key.name}/${version}/${operation}`, body), bad);
    } finally {
      wipe(body);
    }
  }

  /** The version in a key's identifier. Throws KMS_ANSWER_INVALID for that of another key or version. */
  versionOf(kid: string, wanted?: string): string {
    const url = URL.parse(kid);
    const [, name, version] = /^\/keys\/([^/]{1,127})\/([0-9a-f]{32})$/.exec(url?.pathname ?? "") ?? [];
    const same = url?.host === this.key.host && name?.toLowerCase() === this.key.name.toLowerCase();
    if (same && version !== undefined && (wanted === undefined || version === wanted)) return version;
    throw backendError("KMS_ANSWER_INVALID", { detail: "it is about another key" });
  }

  #accept(answer: HttpAnswer, bad?: () => ModelkeepError): HttpAnswer {
    if (answer.status === 200) return answer;
    throw azureErrorOf(answer, this.key.uri, bad);
  }

  /** A token that is refused is fetched anew, once. */
  async #send(method: "GET" | "POST", path: string, body: Uint8Array | undefined): Promise<HttpAnswer> {
    const scope = `${this.key.resource}/.default`;
    for (let round = 1; ; round++) {
      const answer = await this.#once(method, path, body, await this.#tokens.token(scope));
      if (answer.status !== 401) return answer;
      const error = challengeError(answer, this.key);
      if (error) throw error;
      if (round > 1) return answer;
      this.#tokens.drop(scope);
    }
  }

  async #once(
    method: "GET" | "POST",
    path: string,
    body: Uint8Array | undefined,
    token: Uint8Array,
  ): Promise<HttpAnswer> {
    const authorization = () => `Bearer ${Buffer.from(token).toString("latin1")}`;
    try {
      return await this.#http.send(
        () => ({
          method,
          path: `${path}?${API}`,
          headers: { authorization: authorization(), ...(body ? { "content-type": "application/json" } : {}) },
          ...(body ? { body } : {}),
        }),
        { repeatable: true },
      );
    } finally {
      wipe(token);
    }
  }
}
