/** From stored credentials to a client of the server; and to stored credentials, by a one-time code. */
import { fromUtf8, ModelkeepError, wipe } from "../base/index.ts";
import type { ApiClient } from "../contract/index.ts";
import { type Connection, type Credentials, connect, enrol } from "../sdk/index.ts";
import { isPrincipalName } from "../tokens/index.ts";
import { readCredentials, writeCredentials } from "./credentials.ts";
import { cliError } from "./errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_SERVER_URL = "http://127.0.0.1:8420";

/** Longest input in which a one-time code is looked for, in bytes. */
export const CODE_BYTES = 256;

/** Used by every command that asks the server; `as` names a workload. Fails with NOT_LOGGED_IN and what to type. */
export async function connectWithCredentials(env: Environment, signal: AbortSignal, as?: string): Promise<ApiClient> {
  const credentials = await readCredentials(env, as);
  if (!credentials) throw notLoggedIn(as);
  return (await connect({ credentials, signal })).api;
}

export interface EnsureEnrolledOptions {
  readonly env: Environment;
  readonly signal: AbortSignal;
  /** The workload; without it the login's credentials are taken, and a code logs in. */
  readonly as?: string;
  /** Where to enrol; without it MODELKEEP_SERVER, the server of stored credentials, or the local one. */
  readonly serverUrl?: string;
  /** Asked only when there are no credentials yet, or the server refuses them; undefined when there is no code. */
  readonly readCode: () => Promise<Uint8Array | undefined>;
}

/**
 * A connection as the workload, enrolled first when there is need. The code is used once: a second start finds the
 * stored key. Fails with NOT_LOGGED_IN, ENROLMENT_REFUSED, PRINCIPAL_MISMATCH or UNREACHABLE.
 */
export async function ensureEnrolled(options: EnsureEnrolledOptions): Promise<Connection> {
  const { env, signal, as } = options;
  if (as !== undefined && !isPrincipalName(as))
    throw cliError("USAGE", { detail: "--as is not the name of a workload" });
  const stored = await readCredentials(env, as);
  if (stored && (options.serverUrl === undefined || sameServer(stored.serverUrl, options.serverUrl))) {
    const connection = await connect({ credentials: stored, signal });
    if (await isAccepted(connection)) return connection;
  }
  const code = await options.readCode();
  if (!code && stored)
    throw cliError("NOT_LOGGED_IN", { detail: "the server refused the stored key", hint: hintFor(as) });
  if (!code) throw notLoggedIn(as);
  return connect({ credentials: await enrolAndStore(options, code), signal });
}

/** Uses the code up, wipes it, and keeps the new key. */
export async function enrolAndStore(
  options: Omit<EnsureEnrolledOptions, "readCode">,
  code: Uint8Array,
): Promise<Credentials> {
  const { env, signal, as } = options;
  const serverUrl = checkServerUrl(options.serverUrl ?? (await knownServer(env, as)));
  const credentials = await enrol({ serverUrl, code: readCodeText(code), signal });
  if (as !== undefined && credentials.principal !== `Workload::${JSON.stringify(as)}`) {
    throw cliError("PRINCIPAL_MISMATCH", { detail: `it enrols ${credentials.principal}`, hint: hintFor(as) });
  }
  await writeCredentials(env, credentials, as);
  return credentials;
}

async function knownServer(env: Environment, as: string | undefined): Promise<string> {
  const stored = env.MODELKEEP_SERVER ? undefined : ((await readCredentials(env, as)) ?? (await readCredentials(env)));
  return env.MODELKEEP_SERVER ?? stored?.serverUrl ?? DEFAULT_SERVER_URL;
}

/** A code or a token never goes over a network in the clear. */
function checkServerUrl(text: string): string {
  const url = URL.parse(text);
  const local = url !== null && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (!url || !(url.protocol === "https:" || (url.protocol === "http:" && local)) || url.username !== "") {
    throw cliError("USAGE", { detail: `--server ${text.slice(0, 200)}: https://HOST, or http:// on this machine` });
  }
  return url.origin;
}

function sameServer(a: string, b: string): boolean {
  return URL.parse(a)?.origin === URL.parse(b)?.origin;
}

function readCodeText(code: Uint8Array): string {
  try {
    const text = fromUtf8(code).trim();
    if (!/^[\x21-\x7e]+$/.test(text)) throw cliError("CODE_INVALID");
    return text;
  } catch {
    throw cliError("CODE_INVALID");
  } finally {
    wipe(code);
  }
}

/** False when the server no longer takes the key; any other trouble is the caller's. */
async function isAccepted(connection: Connection): Promise<boolean> {
  try {
    await connection.session.prove("GET", connection.session.serverUrl);
    return true;
  } catch (error) {
    if (error instanceof ModelkeepError && error.code === "RENEWAL_REFUSED") return false;
    throw error;
  }
}

function notLoggedIn(as: string | undefined): ModelkeepError {
  const detail = as === undefined ? {} : { detail: `there are no credentials for ${as} here` };
  return cliError("NOT_LOGGED_IN", { ...detail, hint: hintFor(as) });
}

function hintFor(as: string | undefined): string {
  return as === undefined
    ? "modelkeep login --server URL"
    : `modelkeep token issue --for ${as} makes a one-time code; give it with --enrol-code-file FILE`;
}
