/** Google's application default credentials: a service account's key, a workload's own identity, a user's login, a machine. */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { copySecret, ModelkeepError, wipe } from "../../base/index.ts";
import { files, GuardedBytes, homeDirectory } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { HttpService } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { CachedTokens, postForm, refuseLogin, signAssertion, takeAccessToken } from "../oauth.ts";
import { metadataPorts } from "../ports.ts";
import { readCredentialFile, revealText } from "../private-file.ts";
import { readAnswer, takeLines, takeTexts } from "../secret-json.ts";
import { type GoogleLogin, type GoogleLoginPorts, missing, serviceAt } from "./place.ts";
import { externalAccount, openExternalAccount } from "./workload.ts";

const TOKEN_URI = "https://oauth2.googleapis.com/token";
const METADATA = "metadata.google.internal";
const HOST = /^[\w.-]{1,253}(:\d{1,5})?$/;
const ASSERTION_SECONDS = 3_600;

const typeSchema = z.object({ type: z.string().max(64) });
const accountSchema = z.object({
  client_email: z.string().min(3).max(320),
  private_key_id: z.string().max(128).optional(),
  token_uri: z.string().max(512).default(TOKEN_URI),
});
const userSchema = z.object({
  client_id: z.string().min(1).max(512),
  token_uri: z.string().max(512).default(TOKEN_URI),
});

/**
 * GOOGLE_APPLICATION_CREDENTIALS, else the file that `gcloud auth application-default login` writes, else the metadata
 * service of the machine (GCE_METADATA_HOST). The login happens with the first token that is asked for.
 */
export function openGoogleTokens(ports: GoogleLoginPorts): CachedTokens {
  let login: Promise<GoogleLogin> | undefined;
  const opened = (): Promise<GoogleLogin> => {
    login ??= openLogin(ports).catch((error) => {
      login = undefined;
      throw error;
    });
    return login;
  };
  return new CachedTokens(ports.clock, async (scope) => (await opened())(scope));
}

async function openLogin(ports: GoogleLoginPorts): Promise<GoogleLogin> {
  const { env } = ports;
  const given = env.GOOGLE_APPLICATION_CREDENTIALS;
  const known = join(
    env.CLOUDSDK_CONFIG || join(homeDirectory(), ".config", "gcloud"),
    "application_default_credentials.json",
  );
  if (given) return fromFile(given, ports);
  return (await files.stat(known).catch(() => undefined)) ? fromFile(known, ports) : fromMetadata(ports);
}

/** What names no secret, an external account, may be readable by others. */
async function fromFile(path: string, ports: GoogleLoginPorts): Promise<GoogleLogin> {
  const { type } = await readAs(path, true, typeOf);
  if (type === "external_account")
    return openExternalAccount(await readAs(path, true, (text) => readAnswer({ body: text }, externalAccount)), ports);
  if (type === "service_account") return readAs(path, false, (text) => serviceAccount(path, text, ports));
  if (type === "authorized_user") return readAs(path, false, (text) => user(text, ports));
  throw missing(`${path}: the type ${type} is not read`);
}

async function readAs<T>(path: string, mayBeOpenToOthers: boolean, read: (text: Uint8Array) => T): Promise<Awaited<T>> {
  const text = await readCredentialFile(path, BACKEND_LIMITS.credentialFileBytes, { mayBeOpenToOthers });
  try {
    return await read(text);
  } catch (error) {
    const unread = error instanceof ModelkeepError && error.code === "KMS_ANSWER_INVALID";
    throw unread ? missing(`${path} is not a file of credentials`) : error;
  } finally {
    wipe(text);
  }
}

/** The secrets of every kind are blotted out before the text is parsed. */
function typeOf(text: Uint8Array): { type: string } {
  const copy = copySecret(text);
  try {
    for (const name of ["private_key", "refresh_token", "client_secret"])
      if (Buffer.from(copy.buffer).includes(`"${name}"`)) wipe(takeLines(copy, name).secret);
    return readAnswer({ body: copy }, typeSchema);
  } finally {
    wipe(copy);
  }
}

async function serviceAccount(path: string, text: Uint8Array, ports: GoogleLoginPorts): Promise<GoogleLogin> {
  const { secret, rest } = takeLines(text, "private_key");
  const key = privateKey(secret, path);
  const account = accountSchema.safeParse(rest);
  if (!account.success) throw missing(`${path}: ${account.error.issues[0]?.path.join(".") ?? ""}`);
  const { client_email: email, private_key_id: kid, token_uri: place } = account.data;
  const http = await serviceAt(place, ports);
  return async (scope) => {
    const issued = Math.floor(ports.clock.now() / 1000);
    const claims = { iss: email, scope, aud: place, iat: issued, exp: issued + ASSERTION_SECONDS };
    const post = {
      path: new URL(place).pathname,
      secretName: "assertion",
      secret: signAssertion(key, kid === undefined ? {} : { kid }, claims),
      fields: { grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer" },
    };
    return takeAccessToken(await postForm(http, post), "service account login");
  };
}

function privateKey(pem: Uint8Array, path: string): KeyObject {
  try {
    const key = createPrivateKey({ key: Buffer.from(pem.buffer, pem.byteOffset, pem.length), format: "pem" });
    if (key.asymmetricKeyType === "rsa") return key;
  } catch {
    // OpenSSL's words may quote the file.
  } finally {
    wipe(pem);
  }
  throw missing(`${path}: private_key is not an RSA key`);
}

async function user(text: Uint8Array, ports: GoogleLoginPorts): Promise<GoogleLogin> {
  const { secrets, rest } = takeTexts(text, ["client_secret", "refresh_token"]);
  const [clientSecret, refreshToken] = secrets.map((secret) => GuardedBytes.take(secret));
  const known = userSchema.safeParse(rest);
  if (!known.success || !clientSecret || !refreshToken) throw missing("the file of a user's login");
  const { client_id, token_uri: place } = known.data;
  const http = await serviceAt(place, ports);
  return async () => {
    // The secret of an installed application is public (RFC 8252, section 8.5); the refresh token is not.
    const fields = { grant_type: "refresh_token", client_id, client_secret: revealText(clientSecret) };
    const secret = refreshToken.use(copySecret);
    const post = { path: new URL(place).pathname, secretName: "refresh_token", secret, fields };
    return takeAccessToken(await postForm(http, post), "user login");
  };
}

function fromMetadata(ports: GoogleLoginPorts): GoogleLogin {
  const host = ports.env.GCE_METADATA_HOST || METADATA;
  if (!HOST.test(host)) throw missing("GCE_METADATA_HOST is HOST[:PORT]");
  const http = new HttpService(`http://${host}`, metadataPorts(ports, "near"), {});
  return async (scope) => {
    const query = new URLSearchParams({ scopes: scope });
    const path = `/computeMetadata/v1/instance/service-accounts/default/token?${query}`;
    const headers = { "metadata-flavor": "Google" };
    const answer = await http.send(() => ({ method: "GET", path, headers }), { repeatable: true }).catch(nobodyThere);
    if (answer.status === 404) throw missing("the machine has no service account");
    refuseLogin(answer, "the machine's metadata");
    if (answer.header("metadata-flavor") === "Google") return takeAccessToken(answer, "the machine's metadata");
    wipe(answer.body);
    throw backendError("KMS_ANSWER_INVALID", { detail: "what answered is not Google's metadata service" });
  };
}

function nobodyThere(error: unknown): never {
  const gone = error instanceof ModelkeepError && error.code === "KMS_UNREACHABLE";
  throw gone ? missing("no file of credentials, and no machine of Google's") : error;
}
