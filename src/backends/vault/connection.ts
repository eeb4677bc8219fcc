/** Requests to one Vault or OpenBao, in the name of the login that its environment names. */
import { z } from "zod";
import { wipe } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import { type HttpAnswer, type HttpRequest, HttpService, readAuthorities } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import type { FullPorts } from "../ports.ts";
import { readCredentialFile } from "../private-file.ts";
import { parseAnswer } from "../secret-json.ts";
import { VaultToken } from "./token.ts";

/** OpenBao's words for a token that is wrong or over; those for one that may not begin with "1 error occurred". */
const TOKEN_OVER = "permission denied";

const errorSchema = z.object({ errors: z.array(z.string().max(4_096)).max(32) });

export interface VaultRequest {
  readonly method: HttpRequest["method"];
  /** After `/v1/`, encoded. */
  readonly path: string;
  /** JSON; the caller wipes it. */
  readonly body?: Uint8Array | undefined;
  /** False for what may be done once alone. */
  readonly repeatable?: boolean;
}

export class VaultConnection {
  readonly origin: string;
  readonly #http: HttpService;
  readonly #token: VaultToken;

  private constructor(http: HttpService, token: VaultToken) {
    this.origin = http.origin;
    this.#http = http;
    this.#token = token;
  }

  /** Throws KMS_CREDENTIALS_MISSING for an environment that names no login; KMS_WRAPPING_USED. */
  static async open(
    { origin, namespace }: { readonly origin: string; readonly namespace: string | undefined },
    ports: FullPorts,
  ): Promise<VaultConnection> {
    const http = await connectVault(origin, ports);
    const token = new VaultToken(http, ports, namespace);
    await token.prepare();
    return new VaultConnection(http, token);
  }

  /** A token that is refused is replaced, once, where there is another. The caller wipes the answer's body. */
  async send({ method, path, body, repeatable = true }: VaultRequest): Promise<HttpAnswer> {
    for (let round = 1; ; round++) {
      const lease = await this.#token.lease();
      const answer = await this.#http.send(
        () => ({
          method,
          path: `/v1/${path}`,
          headers: { ...lease.headers(), ...(body ? { "content-type": "application/json" } : {}) },
          ...(body ? { body } : {}),
        }),
        { repeatable },
      );
      if (answer.status !== 403 || round > 1 || !(await lease.refused())) return answer;
    }
  }
}

/** With VAULT_CACERT, and the certificate of this side where VAULT_CLIENT_CERT and VAULT_CLIENT_KEY name one. */
export async function connectVault(origin: string, ports: FullPorts): Promise<HttpService> {
  const { VAULT_CACERT: authorities, VAULT_CLIENT_CERT: certificate, VAULT_CLIENT_KEY: keyPath } = ports.env;
  const hint = "name its authority: export VAULT_CACERT=FILE.pem";
  const ca = await readAuthorities(authorities);
  if (!certificate && !keyPath) return new HttpService(origin, ports, { ca, hint });
  if (!certificate || !keyPath)
    throw backendError("KMS_CREDENTIALS_MISSING", { detail: "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY come together" });
  const key = await readCredentialFile(keyPath, BACKEND_LIMITS.credentialFileBytes);
  try {
    return new HttpService(origin, ports, { ca, hint, certificate: await readAuthorities(certificate), key });
  } finally {
    wipe(key);
  }
}

/** Vault's words choose a code and are not shown: they repeat parts of the request. */
export function vaultWordsOf(answer: HttpAnswer): string {
  try {
    const parsed = errorSchema.safeParse(parseAnswer(answer.body));
    return parsed.success ? parsed.data.errors.join(" ") : "";
  } catch {
    return "";
  }
}

/** Vault answers 403 for a token that is over and for one that may not. */
export function isVaultTokenOver(answer: HttpAnswer, words: string): boolean {
  return answer.status === 403 && (/invalid token|bad token/.test(words) || words === TOKEN_OVER);
}
