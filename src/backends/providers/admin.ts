/** Keys that providers of models make and delete on request: OpenAI's Admin API and OpenRouter's key management. */
import { z } from "zod";
import { type ModelkeepError, utf8, wipe } from "../../base/index.ts";
import type { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { type HttpAnswer, type HttpRequest, HttpService, readAuthorities, safeOrigin } from "../http-service.ts";
import { takeMember } from "../json-bytes.ts";
import { type BackendPorts, fullPorts } from "../ports.ts";
import { revealText } from "../private-file.ts";
import { readAnswer } from "../secret-json.ts";
import type { FoundValue } from "../secret-value.ts";

/** Opens the key of an administrator for the time of the work. */
export type AdminKey = <T>(work: (key: GuardedBytes) => Promise<T>) => Promise<T>;

export interface OpenAiKeyPlace {
  readonly project: string;
  /** A key of this service account; without it an account is made for each key. */
  readonly account?: string | undefined;
  /** Of a key of an account that exists. */
  readonly scopes?: readonly string[] | undefined;
  /** Stands in the provider's list of keys. */
  readonly name: string;
}

export interface OpenRouterKeyPlace {
  readonly name: string;
  /** Most that the key may spend, in US dollars. */
  readonly limit?: number | undefined;
}

export interface ProviderKeys<Place> {
  /** The key ends by itself, also when its answer is lost on the way: nothing is asked for twice. */
  mint(place: Place, ttlSeconds: number): Promise<FoundValue>;
  /** By the id of the lease; a key that is gone is none to fail for. */
  revoke(leaseId: string): Promise<void>;
}

const id = z.string().regex(/^[\w-]{1,128}$/);
const accountSchema = z.object({ id });
const keySchema = z.object({ id });
const routerSchema = z.object({ data: z.object({ hash: id }) });

/** `at` stands in for the provider's own address: TLS, or this machine. Throws KMS_URI_UNKNOWN. */
export async function openAiKeys(
  admin: AdminKey,
  given: BackendPorts,
  at = "https://api.openai.com",
): Promise<ProviderKeys<OpenAiKeyPlace>> {
  const client = await AdminClient.open("openai", admin, given, at);
  return {
    async mint({ project, account, scopes, name }, ttlSeconds) {
      const accounts = `/v1/organization/projects/${project}/service_accounts`;
      const path = account === undefined ? accounts : `${accounts}/${account}/api_keys`;
      const answer = await client.send("POST", path, { name, expires_in_seconds: ttlSeconds, scopes });
      const place = account === undefined ? ["api_key", "value"] : ["value"];
      return client.take(answer, place, ttlSeconds, (body) =>
        account === undefined
          ? `${project}/service_accounts/${readAnswer(body, accountSchema).id}`
          : `${project}/api_keys/${readAnswer(body, keySchema).id}`,
      );
    },
    revoke: (leaseId) => client.remove(`/v1/organization/projects/${leaseId}`),
  };
}

/** As `openAiKeys`. */
export async function openRouterKeys(
  admin: AdminKey,
  given: BackendPorts,
  at = "https://openrouter.ai",
): Promise<ProviderKeys<OpenRouterKeyPlace>> {
  const { clock } = fullPorts(given);
  const client = await AdminClient.open("openrouter", admin, given, at);
  return {
    async mint({ name, limit }, ttlSeconds) {
      const expires = new Date(clock.now() + ttlSeconds * 1000).toISOString();
      const answer = await client.send("POST", "/api/v1/keys", { name, limit, expires_at: expires });
      return client.take(answer, ["key"], ttlSeconds, (body) => readAnswer(body, routerSchema).data.hash);
    },
    revoke: (leaseId) => client.remove(`/api/v1/keys/${leaseId}`),
  };
}

class AdminClient {
  readonly #who: string;
  readonly #http: HttpService;
  readonly #admin: AdminKey;

  private constructor(who: string, http: HttpService, admin: AdminKey) {
    this.#who = who;
    this.#http = http;
    this.#admin = admin;
  }

  static async open(who: string, admin: AdminKey, given: BackendPorts, at: string): Promise<AdminClient> {
    const ports = fullPorts(given);
    const place = safeOrigin(at);
    if (place?.pathname !== "/" || place.search !== "")
      throw backendError("KMS_URI_UNKNOWN", { detail: `${who}: its address is https://HOST` });
    const ca = await readAuthorities(ports.env.SSL_CERT_FILE);
    const hint = "name its authority: export SSL_CERT_FILE=FILE.pem";
    return new AdminClient(who, new HttpService(place.origin, ports, { ca, hint }), admin);
  }

  send(method: HttpRequest["method"], path: string, fields?: Readonly<Record<string, unknown>>): Promise<HttpAnswer> {
    const body = fields && utf8(JSON.stringify(fields));
    return this.#admin((key) =>
      this.#http.send(
        () => ({
          method,
          path,
          headers: {
            authorization: `Bearer ${revealText(key)}`,
            accept: "application/json",
            ...(body ? { "content-type": "application/json" } : {}),
          },
          ...(body ? { body } : {}),
        }),
        { repeatable: method !== "POST" },
      ),
    );
  }

  take(
    answer: HttpAnswer,
    path: readonly string[],
    ttlSeconds: number,
    leaseOf: (answer: HttpAnswer) => string,
  ): FoundValue {
    if (answer.status !== 200 && answer.status !== 201) throw this.#errorOf(answer);
    const value = takeMember(answer.body, path);
    try {
      const leaseId = leaseOf(answer);
      if (value) return { value, lease: { id: leaseId, ttlSeconds, renewable: false } };
      throw backendError("KMS_ANSWER_INVALID", { detail: `${this.#who}: there is no key` });
    } catch (error) {
      wipe(value ?? new Uint8Array(0));
      throw error;
    } finally {
      wipe(answer.body);
    }
  }

  async remove(path: string): Promise<void> {
    const answer = await this.send("DELETE", path);
    if (answer.status !== 200 && answer.status !== 204 && answer.status !== 404) throw this.#errorOf(answer);
  }

  #errorOf({ status }: HttpAnswer): ModelkeepError {
    const detail = `${this.#who}, status ${status}`;
    if (status === 401) return backendError("KMS_CREDENTIALS_REFUSED", { detail });
    if (status === 403) return backendError("KMS_DENIED", { detail });
    if (status === 404) return backendError("KMS_KEY_NOT_FOUND", { detail });
    if (status === 429) return backendError("KMS_THROTTLED", { detail });
    return backendError(status >= 500 ? "KMS_UNREACHABLE" : "KMS_REFUSED", { detail });
  }
}
