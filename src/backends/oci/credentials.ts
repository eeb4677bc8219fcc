/** Who we are to a registry: the environment, or what `docker login`, `podman login` and `oras login` left in their file. */
import { join } from "node:path";
import { z } from "zod";
import { fromBase64, fromUtf8, parseJson, utf8, wipe } from "../../base/index.ts";
import { files, GuardedBytes, homeDirectory, readFileBounded } from "../../host/index.ts";
import { storeError } from "../objects/errors.ts";
import { STORE_LIMITS } from "../objects/limits.ts";

export interface RegistryLogin {
  readonly user: string;
  readonly password: GuardedBytes;
}

const text = z.string().max(STORE_LIMITS.credentialBytes);
const config = z.object({
  auths: z.record(z.string(), z.object({ auth: text.optional(), identitytoken: text.optional() })).optional(),
});

const DOCKER_HUB = "registry-1.docker.io";

type Env = Readonly<Record<string, string | undefined>>;

/**
 * MODELKEEP_REGISTRY_USER with MODELKEEP_REGISTRY_PASSWORD for the host MODELKEEP_REGISTRY_HOST, or the entry of the
 * host in DOCKER_CONFIG/config.json, REGISTRY_AUTH_FILE or `~/.docker/config.json`; undefined where there is none.
 * Helpers that keep credentials elsewhere are not started.
 */
export async function findRegistryLogin(host: string, env: Env): Promise<RegistryLogin | undefined> {
  const { MODELKEEP_REGISTRY_USER: user, MODELKEEP_REGISTRY_PASSWORD: password } = env;
  const own = env.MODELKEEP_REGISTRY_HOST === "docker.io" ? DOCKER_HUB : env.MODELKEEP_REGISTRY_HOST;
  if (user !== undefined && password !== undefined && own === host)
    return { user, password: GuardedBytes.take(utf8(password)) };
  const folder = env.DOCKER_CONFIG || join(homeDirectory(), ".docker");
  const named = env.DOCKER_CONFIG ? undefined : env.REGISTRY_AUTH_FILE;
  const path = named || join(folder, "config.json");
  if (!(await files.stat(path).catch(() => undefined))) {
    if (!named) return undefined;
    throw storeError("STORE_CREDENTIALS_MISSING", { detail: `REGISTRY_AUTH_FILE: there is no ${path}` });
  }
  const content = await readFileBounded(path, STORE_LIMITS.credentialBytes);
  try {
    return entryOf(content, host, path);
  } finally {
    wipe(content);
  }
}

function entryOf(file: Uint8Array, host: string, path: string): RegistryLogin | undefined {
  const parsed = config.safeParse(parseJson(file, { maxBytes: STORE_LIMITS.credentialBytes, what: path }));
  if (!parsed.success) throw storeError("STORE_CREDENTIALS_MISSING", { detail: `${path} is not a login file` });
  const auths = parsed.data.auths ?? {};
  const names = host === DOCKER_HUB ? ["https://index.docker.io/v1/", "docker.io"] : [];
  const entry = [host, `https://${host}`, ...names].map((name) => auths[name]).find((one) => one?.auth);
  if (entry?.auth === undefined) return undefined;
  if (entry.identitytoken)
    throw storeError("STORE_CREDENTIALS_MISSING", {
      detail: `${path}: the entry of ${host} is an identity token, which is not read`,
      hint: `export MODELKEEP_REGISTRY_HOST=${host}, MODELKEEP_REGISTRY_USER and MODELKEEP_REGISTRY_PASSWORD`,
    });
  const bytes = fromBase64(entry.auth);
  const colon = bytes?.indexOf(0x3a) ?? -1;
  if (!bytes || colon < 1) throw storeError("STORE_CREDENTIALS_MISSING", { detail: `${path}: the entry of ${host}` });
  const user = fromUtf8(bytes.subarray(0, colon));
  const password = GuardedBytes.take(new Uint8Array(bytes.subarray(colon + 1)));
  wipe(bytes);
  return { user, password };
}
