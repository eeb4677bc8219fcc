/** A counterpart of Google Secret Manager (REST v1), written from its API reference. */

import { crcOf } from "./google.ts";
import { type Answered, extended, type Served, serve } from "./serve.ts";

const CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform";
const PATH = /^\/v1\/projects\/project\/secrets\/([\w-]{1,255})\/versions\/(latest|\d{1,9}):access$/;

interface Version {
  readonly data: Uint8Array;
  state: "ENABLED" | "DISABLED" | "DESTROYED";
}

export interface GoogleSecretManager extends Served {
  /** One more version, whose number comes back. */
  add(name: string, data: Uint8Array): number;
  setState(name: string, version: number, state: Version["state"]): void;
  /** Names that the caller may not read. */
  readonly closed: Set<string>;
  /** Answers every request with this, when it is set. */
  instead: Answered | undefined;
  /** Changes an answer 200 on its way. */
  alter: ((body: { name: string; payload: { data: string; dataCrc32c?: string } }) => void) | undefined;
}

const refusal = (code: number, status: string, message: string): Answered => ({
  status: code,
  body: { error: { code, message, status } },
});

export async function startGoogleSecrets(tokens: ReadonlyMap<string, string>): Promise<GoogleSecretManager> {
  const secrets = new Map<string, Version[]>();
  const closed = new Set<string>();
  const state: Pick<GoogleSecretManager, "instead" | "alter"> = { instead: undefined, alter: undefined };
  const served = await serve((asked) => {
    if (state.instead) return state.instead;
    const token = /^Bearer (.+)$/.exec(asked.headers.authorization ?? "")?.[1] ?? "";
    if (tokens.get(token) !== CLOUD_PLATFORM) return refusal(401, "UNAUTHENTICATED", "invalid credentials");
    const [, name = "", wanted = ""] = PATH.exec(asked.path) ?? [];
    if (asked.method !== "GET" || name === "") return refusal(404, "NOT_FOUND", "Method not found.");
    if (closed.has(name))
      return refusal(403, "PERMISSION_DENIED", "Permission 'secretmanager.versions.access' denied for resource");
    const versions = secrets.get(name) ?? [];
    const number = wanted === "latest" ? versions.length : Number(wanted);
    const version = versions[number - 1];
    const path = `projects/1/secrets/${name}/versions/${number}`;
    if (!version) return refusal(404, "NOT_FOUND", `Secret Version [${path}] not found.`);
    if (version.state !== "ENABLED")
      return refusal(400, "FAILED_PRECONDITION", `Secret Version [${path}] is in ${version.state} state.`);
    const data = Buffer.from(version.data);
    const body = { name: path, payload: { data: data.toString("base64"), dataCrc32c: crcOf(data) } };
    state.alter?.(body);
    return { status: 200, body };
  });
  return extended(served, {
    closed,
    add(name: string, data: Uint8Array) {
      const versions = [...(secrets.get(name) ?? []), { data, state: "ENABLED" as const }];
      secrets.set(name, versions);
      return versions.length;
    },
    setState(name: string, version: number, next: Version["state"]) {
      const found = secrets.get(name)?.[version - 1];
      if (found) found.state = next;
    },
    get instead() {
      return state.instead;
    },
    set instead(answer: Answered | undefined) {
      state.instead = answer;
    },
    get alter() {
      return state.alter;
    },
    set alter(change: GoogleSecretManager["alter"]) {
      state.alter = change;
    },
  });
}
