/** Secrets of Azure Key Vault, by version, with a token that only its own service may see. */
import { z } from "zod";
import { wipe } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import { type HttpAnswer, HttpService, readAuthorities } from "../http-service.ts";
import { takeMember } from "../json-bytes.ts";
import type { CachedTokens } from "../oauth.ts";
import { type BackendPorts, fullPorts } from "../ports.ts";
import { readAnswer } from "../secret-json.ts";
import { type FoundValue, orNothing } from "../secret-value.ts";
import { azureErrorOf, challengeError } from "./errors.ts";
import { openAzureTokens } from "./login.ts";
import { type AzureKey, parseAzureUri } from "./uri.ts";

const API = "api-version=7.4";
const secretSchema = z.object({ id: z.string().max(1_024), attributes: z.object({ enabled: z.boolean() }).optional() });

export interface AzureSecretPlace {
  readonly name: string;
  /** 32 hex digits; the latest when absent. */
  readonly version?: string | undefined;
}

type Vault = Pick<AzureKey, "origin" | "host" | "resource">;

/** `azurekv://NAME.vault.azure.net`. Throws KMS_URI_UNKNOWN for a host that is no vault of Azure. */
export async function openAzureSecrets(uri: string, given: BackendPorts): Promise<AzureSecrets> {
  const ports = fullPorts(given);
  const vault = parseAzureUri(uri.replace(/^azurekv:\/\/([^/?#]+)\/?(\?|$)/, "azurekms://$1/any$2"));
  const ca = await readAuthorities(ports.env.SSL_CERT_FILE);
  const http = new HttpService(vault.origin, ports, { ca, hint: "name its authority: export SSL_CERT_FILE=FILE.pem" });
  return new AzureSecrets(vault, http, openAzureTokens(ports));
}

export class AzureSecrets {
  readonly #vault: Vault;
  readonly #http: HttpService;
  readonly #tokens: CachedTokens;

  constructor(vault: Vault, http: HttpService, tokens: CachedTokens) {
    this.#vault = vault;
    this.#http = http;
    this.#tokens = tokens;
  }

  /** Undefined when there is no such secret or version. */
  read({ name, version }: AzureSecretPlace): Promise<FoundValue | undefined> {
    return orNothing(async () => {
      const path = `/secrets/${name}${version === undefined ? "" : `/${version}`}`;
      const answer = await this.#send(path);
      const value = answer.status === 200 ? takeMember(answer.body, ["value"]) : undefined;
      try {
        if (answer.status !== 200) throw azureErrorOf(answer, `azurekv://${this.#vault.host}${path}`);
        if (value && this.#isOf(answer, path)) return { value };
        throw backendError("KMS_ANSWER_INVALID", { detail: "it is about another secret" });
      } catch (error) {
        wipe(value ?? new Uint8Array(0));
        throw error;
      } finally {
        wipe(answer.body);
      }
    });
  }

  #isOf(answer: HttpAnswer, path: string): boolean {
    const url = URL.parse(readAnswer(answer, secretSchema).id);
    const [asked, told] = [path.toLowerCase(), url?.pathname.toLowerCase() ?? ""];
    return url?.host === this.#vault.host && (told === asked || told.startsWith(`${asked}/`));
  }

  /** A token that is refused is fetched anew, once; one that another service asks for is not sent at all. */
  async #send(path: string): Promise<HttpAnswer> {
    const scope = `${this.#vault.resource}/.default`;
    for (let round = 1; ; round++) {
      const token = await this.#tokens.token(scope);
      const headers = () => ({ authorization: `Bearer ${Buffer.from(token).toString("latin1")}` });
      const answer = await this.#http
        .send(() => ({ method: "GET", path: `${path}?${API}`, headers: headers() }), { repeatable: true })
        .finally(() => wipe(token));
      if (answer.status !== 401) return answer;
      const error = challengeError(answer, this.#vault);
      if (error) throw error;
      if (round > 1) return answer;
      this.#tokens.drop(scope);
    }
  }
}
