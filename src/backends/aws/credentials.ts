/** AWS credentials from the environment or from a profile in the shared credentials file. */
import { join } from "node:path";
import { fromUtf8, utf8, wipe } from "../../base/index.ts";
import { homeDirectory } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import type { FullPorts } from "../ports.ts";
import { guardSecret, readCredentialFile } from "../private-file.ts";
import type { AwsCredentials } from "./sigv4.ts";

const ACCESS_KEY = /^[A-Za-z0-9]{4,128}$/;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

/**
 * AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; else the profile AWS_PROFILE (`default`) of
 * AWS_SHARED_CREDENTIALS_FILE (`~/.aws/credentials`). Roles of instances are not looked up. Throws
 * KMS_CREDENTIALS_MISSING.
 */
export async function loadAwsCredentials(env: FullPorts["env"]): Promise<AwsCredentials> {
  if (!env.AWS_ACCESS_KEY_ID) return fromProfile(env);
  return credentialsOf("the environment", {
    aws_access_key_id: utf8(env.AWS_ACCESS_KEY_ID),
    aws_secret_access_key: utf8(env.AWS_SECRET_ACCESS_KEY ?? ""),
    ...(env.AWS_SESSION_TOKEN ? { aws_session_token: utf8(env.AWS_SESSION_TOKEN) } : {}),
  });
}

async function fromProfile(env: FullPorts["env"]): Promise<AwsCredentials> {
  const path = env.AWS_SHARED_CREDENTIALS_FILE || join(homeDirectory(), ".aws", "credentials");
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
