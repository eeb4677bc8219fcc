/** A counterpart of the secrets of Azure Key Vault (REST 7.4), written from its API reference. */
import { randomBytes } from "node:crypto";
import { TENANT, VAULT_RESOURCE } from "./azure.ts";
import { type Answered, extended, type Served, serve } from "./serve.ts";

const PATH = /^\/secrets\/([0-9a-zA-Z-]{1,127})(?:\/([0-9a-f]{32}))?$/;

interface Version {
  readonly version: string;
  readonly value: string;
  enabled: boolean;
}

export interface AzureVault extends Served {
  /** One more version, whose id comes back. */
  add(name: string, value: string): string;
  setEnabled(name: string, version: string, enabled: boolean): void;
  /** Names that the caller may not read. */
  readonly closed: Set<string>;
  /** Answers every request with this, when it is set. */
  instead: Answered | undefined;
  /** The resource that a refusal of a token names. */
  challenge: string;
}

const refusal = (status: number, code: string, message: string, inner?: string): Answered => ({
  status,
  body: { error: { code, message, ...(inner === undefined ? {} : { innererror: { code: inner } }) } },
});

export async function startAzureSecrets(tokens: ReadonlyMap<string, string>): Promise<AzureVault> {
  const secrets = new Map<string, Version[]>();
  const closed = new Set<string>();
  const state = { instead: undefined as Answered | undefined, challenge: VAULT_RESOURCE, host: "" };
  const served = await serve((asked) => {
    if (state.instead) return state.instead;
    const token = /^Bearer (.+)$/.exec(asked.headers.authorization ?? "")?.[1] ?? "";
    if (tokens.get(token) !== VAULT_RESOURCE) {
      const challenge = `Bearer authorization="https://login.microsoftonline.com/${TENANT}", resource="${state.challenge}"`;
      return { ...refusal(401, "Unauthorized", "AKV10000"), headers: { "www-authenticate": challenge } };
    }
    if (asked.query.get("api-version") !== "7.4") return refusal(400, "BadParameter", "api-version");
    const [, name = "", wanted] = PATH.exec(asked.path) ?? [];
    if (asked.method !== "GET" || name === "") return refusal(405, "MethodNotAllowed", "no such operation");
    if (closed.has(name)) return refusal(403, "Forbidden", "The user does not have secrets get permission");
    const versions = secrets.get(name) ?? [];
    const one = wanted === undefined ? versions.at(-1) : versions.find(({ version }) => version === wanted);
    if (!one) return refusal(404, "SecretNotFound", `A secret with (name/id) ${name} was not found in this key vault.`);
    if (!one.enabled)
      return refusal(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled");
    const attributes = { enabled: true, created: 1, updated: 1, recoveryLevel: "Recoverable+Purgeable" };
    const id = `https://${state.host}/secrets/${name}/${one.version}`;
    return { status: 200, body: { value: one.value, id, attributes, tags: {} } };
  });
  state.host = served.host;
  return extended(served, {
    closed,
    add(name: string, value: string) {
      const version = randomBytes(16).toString("hex");
      secrets.set(name, [...(secrets.get(name) ?? []), { version, value, enabled: true }]);
      return version;
    },
    setEnabled(name: string, version: string, enabled: boolean) {
      const found = secrets.get(name)?.find((one) => one.version === version);
      if (found) found.enabled = enabled;
    },
    get instead() {
      return state.instead;
    },
    set instead(answer: Answered | undefined) {
      state.instead = answer;
    },
    get challenge() {
      return state.challenge;
    },
    set challenge(resource: string) {
      state.challenge = resource;
    },
  });
}
