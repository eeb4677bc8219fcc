/** The keys of the role that a machine has: by a web identity, from its container's host, or from its instance. */
import { z } from "zod";
import { copySecret, fromUtf8, ModelkeepError, utf8, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { type HttpAnswer, HttpService, readAuthorities, safeOrigin } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { postForm, refuseLogin } from "../oauth.ts";
import { type FullPorts, metadataPorts } from "../ports.ts";
import { guardSecret, readSecretFile, revealText } from "../private-file.ts";
import type { Fresh } from "../renewing.ts";
import { takeTexts } from "../secret-json.ts";
import type { AwsCredentialPorts } from "./credentials.ts";
import type { AwsCredentials } from "./sigv4.ts";
import { takeSts } from "./sts.ts";

export interface RoleLogin {
  readonly kind: "web identity" | "container" | "instance";
  fetch(): Promise<Fresh<AwsCredentials>>;
}

type Env = FullPorts["env"];

const INSTANCE = "http://169.254.169.254";
const CONTAINER = "http://169.254.170.2";
/** Where plain HTTP does not leave the machine: the hosts of ECS and EKS. */
const LINK_LOCAL = new Set(["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"]);
const TOKEN_SECONDS = "21600";
const ROLE_ARN = /^arn:aws[a-z-]{0,20}:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/;
const SESSION = /^[\w+=,.@-]{2,64}$/;

const keysSchema = z.object({
  Code: z.literal("Success").optional(),
  AccessKeyId: z.string().regex(/^[A-Za-z0-9]{4,128}$/),
  Expiration: z.iso.datetime({ offset: true }),
});

/** Undefined where AWS_EC2_METADATA_DISABLED leaves nothing. Throws KMS_CREDENTIALS_MISSING for a setting that is odd. */
export function roleLoginOf(ports: AwsCredentialPorts, region: string): RoleLogin | undefined {
  const { env } = ports;
  if (env.AWS_WEB_IDENTITY_TOKEN_FILE) return webIdentity(ports, region, env.AWS_WEB_IDENTITY_TOKEN_FILE);
  const address = env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
    ? `${CONTAINER}${env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI}`
    : env.AWS_CONTAINER_CREDENTIALS_FULL_URI;
  if (address) return container(ports, address);
  return env.AWS_EC2_METADATA_DISABLED?.toLowerCase() === "true" ? undefined : instance(ports);
}

function webIdentity(ports: AwsCredentialPorts, region: string, path: string): RoleLogin {
  const { env } = ports;
  const [role, session] = [env.AWS_ROLE_ARN ?? "", env.AWS_ROLE_SESSION_NAME || "modelkeep"];
  if (!ROLE_ARN.test(role) || !SESSION.test(session)) throw missing("AWS_ROLE_ARN or AWS_ROLE_SESSION_NAME is odd");
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  const place = safeOrigin(env.AWS_ENDPOINT_URL_STS || env.AWS_ENDPOINT_URL || `https://sts.${region}.${domain}`);
  if (place?.pathname !== "/") throw missing("AWS_ENDPOINT_URL_STS is https://HOST[:PORT]");
  const fields = {
    Action: "AssumeRoleWithWebIdentity",
    Version: "2011-06-15",
    RoleArn: role,
    RoleSessionName: session,
  };
  return {
    kind: "web identity",
    async fetch() {
      const ca = await readAuthorities(env.AWS_CA_BUNDLE);
      const http = new HttpService(place.origin, metadataPorts(ports, "far"), { ca });
      using token = await readSecretFile(path, { mayBeOpenToOthers: true });
      const secret = token.use(copySecret);
      const answer = await postForm(http, { path: "/", secretName: "WebIdentityToken", secret, fields });
      refuseLogin(answer, "AssumeRoleWithWebIdentity");
      const { accessKeyId, expiration, secretKey, sessionToken } = takeSts(answer.body);
      return keys(ports, accessKeyId, expiration, secretKey, sessionToken);
    },
  };
}

function container(ports: AwsCredentialPorts, address: string): RoleLogin {
  const url = URL.parse(address);
  const place = url && LINK_LOCAL.has(url.hostname) && url.protocol === "http:" ? url : safeOrigin(address);
  if (!place) throw missing("AWS_CONTAINER_CREDENTIALS_FULL_URI is https, or a container's host");
  const http = new HttpService(place.origin, metadataPorts(ports, "near"), {});
  return {
    kind: "container",
    async fetch() {
      using token = await containerToken(ports.env);
      const headers = (): Record<string, string> => (token ? { authorization: revealText(token) } : {});
      const path = `${place.pathname}${place.search}`;
      const answer = await http.send(() => ({ method: "GET", path, headers: headers() }), { repeatable: true });
      return takeKeys(ports, answer, "the container's host");
    },
  };
}

async function containerToken(env: Env): Promise<GuardedBytes | undefined> {
  const { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: path, AWS_CONTAINER_AUTHORIZATION_TOKEN: token } = env;
  if (path) return readSecretFile(path, { mayBeOpenToOthers: true });
  return token ? guardSecret(utf8(token), "AWS_CONTAINER_AUTHORIZATION_TOKEN") : undefined;
}

/** By IMDSv2 alone: its token is what a request forged by somebody else cannot have. */
function instance(ports: AwsCredentialPorts): RoleLogin {
  const given = ports.env.AWS_EC2_METADATA_SERVICE_ENDPOINT;
  const place = given ? safeOrigin(given) : new URL(INSTANCE);
  if (!place) throw missing("AWS_EC2_METADATA_SERVICE_ENDPOINT is https://HOST, or on this machine");
  const http = new HttpService(place.origin, metadataPorts(ports, "near"), {});
  return { kind: "instance", fetch: () => fromInstance(ports, http).catch(nobodyThere) };
}

async function fromInstance(ports: AwsCredentialPorts, http: HttpService): Promise<Fresh<AwsCredentials>> {
  const asked = await http.send(
    () => ({
      method: "PUT",
      path: "/latest/api/token",
      headers: { "x-aws-ec2-metadata-token-ttl-seconds": TOKEN_SECONDS },
    }),
    { repeatable: true },
  );
  refuseLogin(asked, "the instance's metadata");
  using token = guardSecret(asked.body, "the instance's metadata");
  wipe(asked.body);
  const get = (path: string): Promise<HttpAnswer> =>
    http.send(() => ({ method: "GET", path, headers: { "x-aws-ec2-metadata-token": revealText(token) } }), {
      repeatable: true,
    });
  const list = "/latest/meta-data/iam/security-credentials/";
  const role = nameOf(await get(list));
  return takeKeys(ports, await get(`${list}${role}`), "the instance's metadata");
}

function nameOf(answer: HttpAnswer): string {
  if (answer.status === 404) throw missing("the instance has no role");
  refuseLogin(answer, "the instance's metadata");
  const name = /^[\w+=,.@-]{1,64}$/.exec(fromUtf8(answer.body).trim())?.[0];
  if (name === undefined) throw backendError("KMS_ANSWER_INVALID", { detail: "the name of the instance's role" });
  return name;
}

function takeKeys(ports: AwsCredentialPorts, answer: HttpAnswer, who: string): Fresh<AwsCredentials> {
  refuseLogin(answer, who);
  const { secrets, rest } = takeTexts(answer.body, ["SecretAccessKey", "Token"]);
  const known = keysSchema.safeParse(rest);
  const [secretKey, sessionToken] = secrets;
  if (known.success && secretKey && sessionToken)
    return keys(ports, known.data.AccessKeyId, known.data.Expiration, secretKey, sessionToken);
  for (const secret of secrets) wipe(secret);
  throw backendError("KMS_ANSWER_INVALID", { detail: who });
}

function keys(
  { clock }: AwsCredentialPorts,
  accessKeyId: string,
  expiration: string,
  secretKey: Uint8Array,
  sessionToken: Uint8Array,
): Fresh<AwsCredentials> {
  const fits =
    secretKey.length > 0 && sessionToken.length > 0 && sessionToken.length <= BACKEND_LIMITS.accessTokenBytes;
  if (!fits) throw backendError("KMS_ANSWER_INVALID", { detail: "the keys of a role" });
  const value = {
    accessKeyId,
    secretKey: GuardedBytes.take(secretKey),
    sessionToken: GuardedBytes.take(sessionToken),
  };
  return { value, lifeSeconds: Math.max(0, (Date.parse(expiration) - clock.now()) / 1000) };
}

function missing(detail: string): Error {
  return backendError("KMS_CREDENTIALS_MISSING", { detail });
}

function nobodyThere(error: unknown): never {
  // 403 is what a machine says whose metadata is switched off, and a proxy that is asked for them.
  const gone =
    error instanceof ModelkeepError && (error.code === "KMS_UNREACHABLE" || error.code === "KMS_CREDENTIALS_REFUSED");
  if (!gone) throw error;
  throw backendError("KMS_CREDENTIALS_MISSING", {
    detail: "no keys, no profile, and no instance that has a role",
    hint: "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
  });
}
