/** Counterparts of OpenAI's Admin API and OpenRouter's key management, written from their API references. */
import { randomBytes } from "node:crypto";
import { type Answered, type Asked, extended, members, type Served, serve } from "./serve.ts";

export interface KeyProvider extends Served {
  /** Values of the keys that are in force, by the path that deletes them. */
  readonly keys: Map<
    string,
    { readonly value: string; readonly expiresAt: number; readonly scopes?: unknown; readonly limit?: unknown }
  >;
  /** Answers every request with this, when it is set. */
  instead: Answered | undefined;
}

const id = (prefix: string) => `${prefix}_${randomBytes(8).toString("hex")}`;
const error = (status: number): Answered => ({
  status,
  body: { error: { message: "no", type: "invalid_request_error" } },
});

function provider(
  adminKey: string,
  operate: (asked: Asked, keys: KeyProvider["keys"]) => Answered,
): Promise<KeyProvider> {
  const keys: KeyProvider["keys"] = new Map();
  const state: { instead: Answered | undefined } = { instead: undefined };
  return serve((asked) => {
    if (state.instead) return state.instead;
    if (asked.headers.authorization !== `Bearer ${adminKey}`) return error(401);
    if (asked.method !== "DELETE") return operate(asked, keys);
    return keys.delete(asked.path) ? { status: 200, body: { deleted: true } } : error(404);
  }).then((served) =>
    extended(served, {
      keys,
      get instead() {
        return state.instead;
      },
      set instead(answer: Answered | undefined) {
        state.instead = answer;
      },
    }),
  );
}

const ACCOUNTS = /^(\/v1\/organization\/projects\/proj_[a-z]+)\/service_accounts(?:\/(svc_acct_[a-z]+)\/api_keys)?$/;

export function startOpenAi(adminKey: string): Promise<KeyProvider> {
  return provider(adminKey, (asked, keys) => {
    const [, project, account] = ACCOUNTS.exec(asked.path) ?? [];
    if (project === undefined || asked.method !== "POST" || project.endsWith("absent")) return error(404);
    const allowed = ["name", "expires_in_seconds", ...(account === undefined ? [] : ["scopes"])];
    const body = asked.headers["content-type"] === "application/json" ? members(asked.body, allowed) : undefined;
    const seconds = Number(body?.expires_in_seconds);
    if (!body || typeof body.name !== "string" || !(seconds >= 1 && seconds <= 31_536_000)) return error(400);
    const value = `sk-svcacct-${randomBytes(24).toString("base64url")}`;
    const made = { object: "organization.project.service_account.api_key", created_at: 1, name: body.name, value };
    const owner = account === undefined ? id("svc_acct") : account;
    const key = { id: id("key"), ...made, expires_at: Math.floor(Date.now() / 1000) + seconds };
    const place = account === undefined ? `${project}/service_accounts/${owner}` : `${project}/api_keys/${key.id}`;
    keys.set(place, { value, expiresAt: key.expires_at, scopes: body.scopes });
    if (account !== undefined) return { status: 200, body: key };
    const service = { object: "organization.project.service_account", id: owner, name: body.name, role: "member" };
    return { status: 200, body: { ...service, created_at: 1, api_key: key } };
  });
}

export function startOpenRouter(adminKey: string): Promise<KeyProvider> {
  return provider(adminKey, (asked, keys) => {
    if (asked.path !== "/api/v1/keys" || asked.method !== "POST") return error(404);
    const body = members(asked.body, ["name", "limit", "expires_at"]);
    const expiresAt = Date.parse(String(body?.expires_at)) / 1000;
    const limited = body?.limit === undefined || typeof body.limit === "number";
    if (!body || typeof body.name !== "string" || !limited || !(expiresAt > Date.now() / 1000)) return error(400);
    const [hash, value] = [randomBytes(32).toString("hex"), `sk-or-v1-${randomBytes(32).toString("hex")}`];
    keys.set(`/api/v1/keys/${hash}`, { value, expiresAt, limit: body.limit });
    const data = { hash, name: body.name, label: "sk-or-v1-abc...def", disabled: false, limit: body.limit ?? null };
    return { status: 201, body: { data, key: value } };
  });
}
