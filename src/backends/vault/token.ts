/** The token that Vault wants to see: given, in a file that somebody renews, or from a machine's login; renewed in time. */
import { z } from "zod";
import { utf8, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import type { HttpAnswer, HttpRequest, HttpService } from "../http-service.ts";
import type { FullPorts } from "../ports.ts";
import { guardSecret, readSecretFile, revealText } from "../private-file.ts";
import { takeText } from "../secret-json.ts";
import { loginOf, type VaultLogin } from "./login.ts";

/** When this much of a token's life is over, it is renewed. */
const RENEW_AFTER = 0.5;
const MAX_TIMER_MILLISECONDS = 2 ** 31 - 1;

const lookupSchema = z.object({ data: z.object({ ttl: z.number(), renewable: z.boolean().optional() }) });
const authSchema = z.object({ auth: z.object({ lease_duration: z.number(), renewable: z.boolean().optional() }) });

type Source = { kind: "given" } | { kind: "file"; path: string } | { kind: "login"; login: VaultLogin };

export interface TokenLease {
  /** A string for the time of a request: ask anew for each. */
  headers(): Record<string, string>;
  /** To be called when the service refused the token; true when there is another one to try. */
  refused(): Promise<boolean>;
}

export class VaultToken {
  readonly #http: HttpService;
  readonly #ports: FullPorts;
  readonly #namespace: string | undefined;
  readonly #source: Source;
  #token: GuardedBytes | undefined;
  /** Grows when a token is dropped. */
  #generation = 0;
  #opening: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /**
   * VAULT_TOKEN, VAULT_TOKEN_FILE, or what `loginOf` finds. Throws KMS_CREDENTIALS_MISSING.
   */
  constructor(http: HttpService, ports: FullPorts, namespace: string | undefined) {
    this.#http = http;
    this.#ports = ports;
    this.#namespace = namespace;
    this.#source = sourceOf(ports.env);
  }

  /** What the login has to do at once. Throws what the login throws. */
  async prepare(): Promise<void> {
    if (this.#source.kind !== "login") return;
    await this.#source.login.prepare?.({ http: this.#http, namespace: this.#namespace });
  }

  /** The headers of requests in the name of the token that is in force. */
  async lease(): Promise<TokenLease> {
    if (!this.#token) await this.#open();
    const generation = this.#generation;
    return { headers: () => this.#headers(), refused: () => this.#refused(generation) };
  }

  async #refused(generation: number): Promise<boolean> {
    if (this.#source.kind === "given") return false;
    if (generation === this.#generation) {
      this.#drop();
      await this.#open();
    }
    return true;
  }

  #open(): Promise<void> {
    this.#opening ??= this.#fetch().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #fetch(): Promise<void> {
    if (this.#source.kind === "login") return this.#login(this.#source.login);
    this.#token =
      this.#source.kind === "file"
        ? await readSecretFile(this.#source.path)
        : guardSecret(utf8(this.#ports.env.VAULT_TOKEN ?? ""), "VAULT_TOKEN");
    if (this.#source.kind === "given") await this.#lookUp();
  }

  /** How long the token lives; a policy may forbid the question, and then nothing is renewed. */
  async #lookUp(): Promise<void> {
    const answer = await this.#send({ method: "GET", path: "/v1/auth/token/lookup-self" });
    const known = answer.status === 200 ? lookupSchema.safeParse(without(answer, "id")) : undefined;
    if (known?.success && known.data.data.renewable) this.#renewIn(known.data.data.ttl);
  }

  /** Once: the secret of an AppRole may be good for one use. */
  async #login(login: VaultLogin): Promise<void> {
    const body = await login.body({ http: this.#http, namespace: this.#namespace });
    try {
      const answer = await this.#http.send(
        () => ({
          method: "POST",
          path: `/v1/auth/${login.mount}/login`,
          headers: { ...this.#headers(), "content-type": "application/json" },
          body,
        }),
        { repeatable: false },
      );
      this.#takeLogin(answer, `${login.name} login`);
    } finally {
      wipe(body);
    }
  }

  #takeLogin(answer: HttpAnswer, who: string): void {
    if (answer.status === 503) throw backendError("KMS_SEALED", { detail: this.#http.origin });
    if (answer.status !== 200)
      throw backendError("KMS_CREDENTIALS_REFUSED", { detail: `${who}, status ${answer.status}` });
    const { secret, rest } = takeText(answer.body, "client_token");
    const auth = authSchema.safeParse(rest);
    if (!auth.success) {
      wipe(secret);
      throw backendError("KMS_ANSWER_INVALID", { detail: who });
    }
    this.#token = GuardedBytes.take(secret);
    this.#renewIn(auth.data.auth.lease_duration);
  }

  /** The timer does not keep the process; a service that is idle for days still has a token afterwards. */
  #renewIn(ttlSeconds: number): void {
    clearTimeout(this.#timer);
    if (ttlSeconds <= 0) return;
    const wait = Math.min(Math.max(ttlSeconds * RENEW_AFTER * 1000, 1000), MAX_TIMER_MILLISECONDS);
    this.#timer = setTimeout(() => void this.#renew().catch(() => undefined), wait);
    this.#timer.unref();
  }

  async #renew(): Promise<void> {
    const answer = await this.#send({ method: "POST", path: "/v1/auth/token/renew-self" });
    const auth = answer.status === 200 ? authSchema.safeParse(without(answer, "client_token")) : undefined;
    if (auth?.success && auth.data.auth.renewable !== false) return this.#renewIn(auth.data.auth.lease_duration);
    await this.#refused(this.#generation);
  }

  #send(request: Pick<HttpRequest, "method" | "path">): Promise<HttpAnswer> {
    return this.#http.send(() => ({ ...request, headers: this.#headers() }), { repeatable: true });
  }

  #headers(): Record<string, string> {
    return {
      "x-vault-request": "true",
      ...(this.#namespace ? { "x-vault-namespace": this.#namespace } : {}),
      ...(this.#token ? { "x-vault-token": revealText(this.#token) } : {}),
    };
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#token?.wipe();
    this.#token = undefined;
    this.#generation++;
  }
}

function sourceOf(env: FullPorts["env"]): Source {
  if (env.VAULT_TOKEN) return { kind: "given" };
  if (env.VAULT_TOKEN_FILE) return { kind: "file", path: env.VAULT_TOKEN_FILE };
  return { kind: "login", login: loginOf(env) };
}

/** The rest of an answer that shows the token itself, without it. */
function without(answer: HttpAnswer, name: string): unknown {
  try {
    const { secret, rest } = takeText(answer.body, name);
    wipe(secret);
    return rest;
  } catch {
    return undefined;
  }
}
