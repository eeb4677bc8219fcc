/** Credentials on this machine: one file of mode 0600 for the login and one for each workload, in the folder of configuration. */
import { hash } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { parseJson, utf8 } from "../base/index.ts";
import { files, homeDirectory, readFileBounded, systemErrorCode, writeFileAtomic } from "../host/index.ts";
import type { Credentials } from "../sdk/index.ts";
import { cliError } from "./errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const MAX_CREDENTIALS_BYTES = 16 * 1024;
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** Readable or writable by the group or by others. */
const OTHERS = 0o077;

const coordinate = z.string().length(43);
const document = z.strictObject({
  version: z.literal(1),
  server_url: z.url({ protocol: /^https?$/ }),
  principal: z.string().max(1024),
  key: z.strictObject({
    kty: z.literal("EC"),
    crv: z.literal("P-256"),
    x: coordinate,
    y: coordinate,
    d: coordinate,
  }),
});

/** `as` names a workload; without it the file of `modelkeep login`. */
export function credentialsPath(env: Environment, as?: string): string {
  const config = env.XDG_CONFIG_HOME ?? join(env.HOME ?? homeDirectory(), ".config");
  return join(config, "modelkeep", "credentials", as === undefined ? "login.json" : `workload-${fileName(as)}.json`);
}

/** Readable for a person, and different for different names. */
function fileName(as: string): string {
  return `${as.replace(/[^A-Za-z0-9.-]/g, "_").slice(0, 60)}-${hash("sha256", as, "hex").slice(0, 12)}`;
}

/** Undefined when there are none. Fails with CREDENTIALS_UNSAFE when others may read or write the file. */
export async function readCredentials(env: Environment, as?: string): Promise<Credentials | undefined> {
  const path = credentialsPath(env, as);
  const stat = await files.lstat(path).catch((error: unknown) => {
    if (systemErrorCode(error) === "ENOENT" || systemErrorCode(error) === "ENOTDIR") return undefined;
    throw error;
  });
  if (!stat) return undefined;
  if (!stat.isFile() || (stat.mode & OTHERS) !== 0) {
    throw cliError("CREDENTIALS_UNSAFE", { detail: path, hint: `chmod 600 ${path}` });
  }
  const bytes = await readFileBounded(path, MAX_CREDENTIALS_BYTES);
  try {
    const parsed = document.safeParse(parseDocument(bytes));
    if (!parsed.success) throw cliError("CREDENTIALS_DAMAGED", { detail: path });
    const { server_url: serverUrl, principal, key: privateJwk } = parsed.data;
    return { serverUrl, principal, privateJwk };
  } finally {
    bytes.fill(0);
  }
}

/** Undefined for what is no JSON: the parser's words could quote a part of the key. */
function parseDocument(bytes: Uint8Array): unknown {
  try {
    return parseJson(bytes, { what: "credentials" });
  } catch {
    return undefined;
  }
}

export async function writeCredentials(env: Environment, credentials: Credentials, as?: string): Promise<void> {
  const path = credentialsPath(env, as);
  await files.mkdir(join(path, ".."), { recursive: true, mode: FOLDER_MODE });
  const { serverUrl, principal, privateJwk } = credentials;
  const bytes = utf8(`${JSON.stringify({ version: 1, server_url: serverUrl, principal, key: privateJwk })}\n`);
  try {
    await writeFileAtomic(path, bytes, { mode: FILE_MODE });
  } finally {
    bytes.fill(0);
  }
}

export async function deleteCredentials(env: Environment, as?: string): Promise<void> {
  await files.rm(credentialsPath(env, as), { force: true });
}
