/** AWS credentials from the environment, a profile in the shared credentials file, or the role that a machine has. */
import { join } from "node:path";
import { type Clock, copySecret, fromUtf8, type Random, utf8, wipe } from "../../base/index.ts";
import { files, GuardedBytes, homeDirectory } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import type { FullPorts } from "../ports.ts";
import { guardSecret, readCredentialFile } from "../private-file.ts";
import { Renewing } from "../renewing.ts";
import { roleLoginOf } from "./roles.ts";
import type { AwsCredentials } from "./sigv4.ts";

const ACCESS_KEY = /^[A-Za-z0-9]{4,128}$/;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

export interface AwsCredentialPorts {
  readonly env: FullPorts["env"];
  readonly clock: Clock;
  readonly random: Random;
  readonly signal?: AbortSignal | undefined;
}

export class AwsCredentialSource {
  readonly #env: FullPorts["env"];
  readonly #role: Renewing<AwsCredentials> | undefined;
  readonly #profileWins: boolean;

  /**
   * In this order: AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; AWS_PROFILE; a web identity
   * (AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN); the container's address (AWS_CONTAINER_CREDENTIALS_…_URI); the
   * profile `default` where there is a file of profiles; the role of the instance. A profile is read from
   * AWS_SHARED_CREDENTIALS_FILE (`~/.aws/credentials`). `region` is where a web identity is exchanged.
   */
  constructor(ports: AwsCredentialPorts, region: string) {
    const { env, clock } = ports;
    this.#env = env;
    const login = env.AWS_ACCESS_KEY_ID || env.AWS_PROFILE ? undefined : roleLoginOf(ports, region);
    this.#role = login && new Renewing({ clock, fetch: login.fetch, wipe: wipeCredentials });
    this.#profileWins = login?.kind === "instance";
  }

  /**
   * The caller wipes them. Keys in the environment and in profiles are read for each call, since somebody may rotate
   * them; those of roles are kept until five minutes before their end. Throws KMS_CREDENTIALS_MISSING,
   * KMS_CREDENTIALS_REFUSED, KMS_ANSWER_INVALID or KMS_UNREACHABLE.
   */
  async get(): Promise<AwsCredentials> {
    if (this.#env.AWS_ACCESS_KEY_ID) return fromEnvironment(this.#env);
    if (!this.#role || (this.#profileWins && (await hasProfiles(this.#env)))) return fromProfile(this.#env);
    return this.#role.use(copyCredentials);
  }

  /** Forgets a role's keys after a service refused them; false when there is nothing else to try. */
  refused(): boolean {
    this.#role?.drop();
    return this.#role !== undefined && !this.#env.AWS_ACCESS_KEY_ID;
  }
}

export function wipeCredentials({ secretKey, sessionToken }: AwsCredentials): void {
  secretKey.wipe();
  sessionToken?.wipe();
}

function copyCredentials({ accessKeyId, secretKey, sessionToken }: AwsCredentials): AwsCredentials {
  const copy = (bytes: GuardedBytes) => GuardedBytes.take(bytes.use(copySecret));
  return { accessKeyId, secretKey: copy(secretKey), sessionToken: sessionToken && copy(sessionToken) };
}

function fromEnvironment(env: FullPorts["env"]): AwsCredentials {
  return credentialsOf("the environment", {
    aws_access_key_id: utf8(env.AWS_ACCESS_KEY_ID ?? ""),
    aws_secret_access_key: utf8(env.AWS_SECRET_ACCESS_KEY ?? ""),
    ...(env.AWS_SESSION_TOKEN ? { aws_session_token: utf8(env.AWS_SESSION_TOKEN) } : {}),
  });
}

function profilePath(env: FullPorts["env"]): string {
  return env.AWS_SHARED_CREDENTIALS_FILE || join(homeDirectory(), ".aws", "credentials");
}

async function hasProfiles(env: FullPorts["env"]): Promise<boolean> {
  return (await files.stat(profilePath(env)).catch(() => undefined)) !== undefined;
}

async function fromProfile(env: FullPorts["env"]): Promise<AwsCredentials> {
  const path = profilePath(env);
  const text = await readCredentialFile(path, BACKEND_LIMITS.credentialFileBytes);
  try {
    return credentialsOf(path, profileOf(text, env.AWS_PROFILE || "default"));
  } finally {
    wipe(text);
  }
}

function credentialsOf(where: string, found: Readonly<Record<string, Uint8Array>>): AwsCredentials {
  const accessKeyId = Buffer.from(found.aws_access_key_id ?? []).toString("latin1");
  if (!ACCESS_KEY.test(accessKeyId) || !found.aws_secret_access_key?.length)
    throw backendError("KMS_CREDENTIALS_MISSING", {
      detail: `no access key in ${where}`,
      hint: "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    });
  const secretKey = guardSecret(found.aws_secret_access_key, where);
  const token = found.aws_session_token;
  return { accessKeyId, secretKey, sessionToken: token?.length ? guardSecret(token, where) : undefined };
}

/** The lines `name = value` of one section, the values as bytes of the given text. */
function profileOf(text: Uint8Array, profile: string): Record<string, Uint8Array> {
  const found: Record<string, Uint8Array> = {};
  let inside = false;
  for (const line of linesOf(text)) {
    const equals = line.indexOf(EQUALS);
    const head = fromLatin(line.subarray(0, equals === -1 ? line.length : equals));
    if (head.startsWith("[")) inside = head.slice(1, head.indexOf("]")).trim() === profile;
    else if (inside && equals !== -1 && /^aws_[a-z_]{1,40}$/.test(head)) found[head] = trim(line.subarray(equals + 1));
  }
  return found;
}

function* linesOf(text: Uint8Array): Generator<Uint8Array> {
  let start = 0;
  while (start < text.length) {
    const end = text.indexOf(NEWLINE, start);
    yield text.subarray(start, end === -1 ? text.length : end);
    start = end === -1 ? text.length : end + 1;
  }
}

function trim(bytes: Uint8Array): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && (bytes[start] ?? 0) <= 0x20) start++;
  while (end > start && (bytes[end - 1] ?? 0) <= 0x20) end--;
  return bytes.subarray(start, end);
}

function fromLatin(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes).trim();
  } catch {
    return "";
  }
}
