/** How a registry lets us in: Basic, or a token that the realm of its challenge gives for a scope. */
import { concatBytes, copySecret, ModelkeepError, toBase64, utf8, wipe } from "../../base/index.ts";
import type { GuardedBytes } from "../../host/index.ts";
import { isLoopback } from "../http-service.ts";
import { encodeQuery } from "../objects/answer.ts";
import { storeError } from "../objects/errors.ts";
import { ObjectHttp } from "../objects/http.ts";
import { STORE_LIMITS } from "../objects/limits.ts";
import type { FullStorePorts } from "../objects/ports.ts";
import { guardSecret, revealText } from "../private-file.ts";
import { takeText } from "../secret-json.ts";
import { findRegistryLogin, type RegistryLogin } from "./credentials.ts";
import type { OciPlace } from "./place.ts";

/** What a token is asked for: a reader's, or a writer's. */
export type Access = "pull" | "push";

interface Challenge {
  readonly scheme: string;
  readonly realm: string;
  readonly service: string | undefined;
  readonly scope: string | undefined;
}

export class RegistryAuth {
  readonly #place: OciPlace;
  readonly #ports: FullStorePorts;
  readonly #ca: Uint8Array | undefined;
  readonly #tokens = new Map<Access, GuardedBytes>();
  #basic = false;

  constructor(place: OciPlace, ports: FullStorePorts, ca: Uint8Array | undefined) {
    this.#place = place;
    this.#ports = ports;
    this.#ca = ca;
  }

  async headers(access: Access): Promise<Record<string, string>> {
    const token = this.#tokens.get(access);
    if (token) return { authorization: `Bearer ${revealText(token)}` };
    if (!this.#basic) return {};
    const login = await this.#login();
    return login ? basicHeaders(login) : {};
  }

  /** Answers a 401. Throws STORE_CREDENTIALS_MISSING or STORE_CREDENTIALS_REFUSED when there is nothing more to say. */
  async answer(access: Access, challenge: string | undefined): Promise<void> {
    const parsed = parseChallenge(challenge ?? "");
    if (parsed?.scheme === "bearer") return this.#takeToken(access, parsed);
    const login = parsed?.scheme === "basic" ? await this.#login() : undefined;
    login?.password.wipe();
    if (!login)
      throw storeError("STORE_CREDENTIALS_MISSING", { detail: this.#place.host, hint: loginHint(this.#place.host) });
    if (this.#basic) throw storeError("STORE_CREDENTIALS_REFUSED", { detail: this.#place.host });
    this.#basic = true;
  }

  #login(): Promise<RegistryLogin | undefined> {
    return findRegistryLogin(this.#place.host, this.#ports.env);
  }

  /** The realm is the registry's word: it gets credentials over TLS only, or where both are on this machine. */
  async #takeToken(access: Access, challenge: Challenge): Promise<void> {
    const url = URL.parse(challenge.realm);
    const local = url?.protocol === "http:" && isLoopback(url.hostname) && this.#place.origin.startsWith("http:");
    if (!url || !(url.protocol === "https:" || local) || url.username !== "" || url.password !== "")
      throw storeError("STORE_DENIED", { detail: `${this.#place.host} sends for a token to a place without TLS` });
    const { repository } = this.#place;
    const scope =
      scopeOf(challenge.scope, access) ?? `repository:${repository}:${ACTIONS[access].slice(0, 2).join(",")}`;
    const query = { ...(challenge.service ? { service: challenge.service } : {}), scope };
    const asked = [url.search.slice(1), encodeQuery(query)].filter((part) => part !== "").join("&");
    const http = new ObjectHttp(url.origin, this.#ports, this.#ca);
    const login = await this.#login();
    const headers = login ? basicHeaders(login) : {};
    const make = () => ({ method: "GET" as const, path: `${url.pathname}?${asked}`, headers });
    const answer = await http.send(make).finally(() => http.close());
    if (answer.status === 401 || answer.status === 403)
      throw storeError(login ? "STORE_CREDENTIALS_REFUSED" : "STORE_CREDENTIALS_MISSING", {
        detail: url.host,
        hint: loginHint(this.#place.host),
      });
    if (answer.status !== 200)
      throw storeError("STORE_ANSWER_INVALID", { detail: `${url.host}, status ${answer.status} for a token` });
    this.#tokens.get(access)?.wipe();
    this.#tokens.set(access, tokenOf(answer.body, url.host));
  }
}

/** In the order of what is asked for where a registry names nothing. */
const ACTIONS: Readonly<Record<Access, readonly string[]>> = {
  pull: ["pull"],
  push: ["pull", "push", "delete", "*"],
};

/** What the registry wants a token for, as far as it is needed: a reader's token is none for a writer. */
function scopeOf(wanted: string | undefined, access: Access): string | undefined {
  const [, name, actions] = /^repository:([^\s:]{1,255}):([a-z,*]{1,64})$/.exec(wanted ?? "") ?? [];
  const allowed = actions?.split(",").filter((action) => ACTIONS[access].includes(action)) ?? [];
  return allowed.length === 0 ? undefined : `repository:${name}:${allowed.join(",")}`;
}

function loginHint(host: string): string {
  const own = `export MODELKEEP_REGISTRY_HOST=${host} MODELKEEP_REGISTRY_USER=NAME MODELKEEP_REGISTRY_PASSWORD=…`;
  return `${own}; or docker login ${host}, where no credential helper keeps it`;
}

function tokenOf(body: Uint8Array, host: string): GuardedBytes {
  try {
    for (const name of ["token", "access_token"]) {
      const copy = copySecret(body);
      try {
        if (!Buffer.from(body.buffer, body.byteOffset, body.length).includes(`"${name}"`)) continue;
        const { secret } = takeText(copy, name);
        if (secret.length > STORE_LIMITS.credentialBytes) break;
        return guardSecret(secret, host);
      } finally {
        wipe(copy);
      }
    }
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
  } finally {
    wipe(body);
  }
  throw storeError("STORE_ANSWER_INVALID", { detail: `${host}, no token` });
}

function basicHeaders({ user, password }: RegistryLogin): Record<string, string> {
  const pair = password.use((bytes) => concatBytes(utf8(`${user}:`), bytes));
  password.wipe();
  const encoded = toBase64(pair);
  wipe(pair);
  return { authorization: `Basic ${encoded}` };
}

/** The first challenge of a scheme we know (RFC 9110, section 11.6.1); parameters are quoted by every registry. */
function parseChallenge(text: string): Challenge | undefined {
  const [, scheme, rest] = /(?:^|,\s*)(Bearer|Basic)\s+(.{1,4096})/i.exec(text) ?? [];
  if (scheme === undefined || rest === undefined) return undefined;
  const of = (name: string) => new RegExp(`(?:^|[,\\s])${name}="([^"]{1,2048})"`, "i").exec(rest)?.[1];
  return { scheme: scheme.toLowerCase(), realm: of("realm") ?? "", service: of("service"), scope: of("scope") };
}
