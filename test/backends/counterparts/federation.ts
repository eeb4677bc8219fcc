/** Counterparts of the token endpoints of providers that believe another's identity, written from their references. */
import { randomBytes } from "node:crypto";
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from "jose";
import { type Answered, type Asked, extended, formOf, makeToken, members, type Served, serve } from "./serve.ts";

export interface FederationPeer extends Served {
  readonly issuer: string;
  /** The tokens that were exchanged, checked. */
  readonly claims: JWTPayload[];
  /** The tokens that were given, by what they are for. */
  readonly given: Map<string, string>;
}

/** How a provider finds the keys of an issuer: by its discovery document. */
export async function discovered(issuer: string): Promise<JSONWebKeySet> {
  const about = (await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()) as Record<string, unknown>;
  if (about.issuer !== issuer) throw new Error("it is another issuer");
  return (await (await fetch(String(about.jwks_uri))).json()) as JSONWebKeySet;
}

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT = "urn:ietf:params:oauth:token-type:jwt";
const refused: Answered = { status: 400, body: { error: "invalid_grant", error_description: "no" } };

interface Dialect {
  readonly path: string;
  readonly audience: string;
  readonly token: string;
  readonly as: "form" | "json";
  readonly fields: Readonly<Record<string, string>>;
  /** What Entra ID alone promises to take. */
  readonly algorithm?: "RS256";
}

const DIALECTS: readonly Dialect[] = [
  {
    path: "/v1/oauth/token",
    audience: "https://api.anthropic.com",
    token: "assertion",
    as: "json",
    fields: {
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      federation_rule_id: "fdrl_1",
      organization_id: "org-1",
      service_account_id: "svac_1",
      workspace_id: "wrkspc_1",
    },
  },
  {
    path: "/oauth/token",
    audience: "https://api.openai.com/v1",
    token: "subject_token",
    as: "json",
    fields: {
      grant_type: EXCHANGE,
      subject_token_type: JWT,
      identity_provider_id: "idp_1",
      service_account_id: "svc_acct_1",
    },
  },
  {
    path: "/api/v1/oauth/token",
    audience: "https://openrouter.ai",
    token: "subject_token",
    as: "form",
    fields: { grant_type: EXCHANGE, subject_token_type: JWT, federation_policy_id: "policy-1" },
  },
  {
    path: "/v1/token",
    audience: "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
    token: "subject_token",
    as: "form",
    fields: {
      grant_type: EXCHANGE,
      audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
      scope: "https://www.googleapis.com/auth/cloud-platform",
      requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
      subject_token_type: JWT,
    },
  },
  {
    path: "/tenant-1/oauth2/v2.0/token",
    audience: "api://AzureADTokenExchange",
    token: "client_assertion",
    as: "form",
    fields: {
      grant_type: "client_credentials",
      client_id: "client-1",
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      scope: "https://cognitiveservices.azure.com/.default",
    },
    algorithm: "RS256",
  },
  {
    path: "/",
    audience: "sts.amazonaws.com",
    token: "WebIdentityToken",
    as: "form",
    fields: {
      Action: "AssumeRoleWithWebIdentity",
      Version: "2011-06-15",
      RoleArn: "arn:aws:iam::123456789012:role/caller",
      RoleSessionName: "modelkeep",
      DurationSeconds: "900",
    },
  },
];

/** Believes this issuer alone, and this subject. */
export async function startFederation(
  issuer: string,
  subject: string,
  keysOf: (issuer: string) => Promise<JSONWebKeySet> = discovered,
): Promise<FederationPeer> {
  const [claims, given, used] = [[] as JWTPayload[], new Map<string, string>(), new Set<string>()];
  const served = await serve(async (asked) => {
    if (asked.path.endsWith(":generateAccessToken")) return impersonated(asked, given);
    const dialect = DIALECTS.find(({ path }) => path === asked.path);
    if (!dialect || asked.method !== "POST") return { status: 404 };
    const names = [dialect.token, ...Object.keys(dialect.fields)];
    const isJson = asked.headers["content-type"] === "application/json";
    const body = dialect.as === "form" ? formOf(asked) : isJson ? members(asked.body, names) : undefined;
    const fits = body && Object.entries(dialect.fields).every(([name, value]) => body[name] === value);
    if (!fits || Object.keys(body).length !== names.length) return refused;
    try {
      const set = createLocalJWKSet(await keysOf(issuer));
      const algorithms = [dialect.algorithm ?? "ES256"];
      const checks = { issuer, subject, audience: dialect.audience, algorithms, maxTokenAge: "10 minutes" };
      const { payload } = await jwtVerify(String(body[dialect.token]), set, checks);
      if (!payload.jti || used.has(payload.jti) || (payload.exp ?? 0) > Date.now() / 1000 + 3_600) return refused;
      used.add(payload.jti);
      claims.push(payload);
    } catch {
      return refused;
    }
    return dialect.path === "/" ? awsKeys() : token(dialect.path, given);
  });
  return extended(served, { issuer, claims, given });
}

function token(path: string, given: Map<string, string>): Answered {
  const text = path === "/v1/oauth/token" ? `sk-ant-oat01-${randomBytes(12).toString("hex")}` : makeToken();
  given.set(text, path);
  return { status: 200, body: { access_token: text, token_type: "Bearer", expires_in: 900 } };
}

function impersonated(asked: Asked, given: Map<string, string>): Answered {
  const federated = given.get(/^Bearer (.+)$/.exec(asked.headers.authorization ?? "")?.[1] ?? "");
  const known =
    asked.path === "/v1/projects/-/serviceAccounts/caller@project.iam.gserviceaccount.com:generateAccessToken";
  if (federated !== "/v1/token" || !known) return { status: 403, body: { error: { code: 403 } } };
  const text = makeToken();
  given.set(text, "google account");
  return { status: 200, body: { accessToken: text, expireTime: new Date(Date.now() + 3_600_000).toISOString() } };
}

function awsKeys(): Answered {
  const keys = `<AccessKeyId>ASIA${randomBytes(8).toString("hex").toUpperCase()}</AccessKeyId><SecretAccessKey>${randomBytes(20).toString("base64")}</SecretAccessKey><SessionToken>${randomBytes(60).toString("base64")}</SessionToken><Expiration>${new Date(Date.now() + 900_000).toISOString()}</Expiration>`;
  const body = `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>${keys}</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`;
  return { status: 200, body, headers: { "content-type": "text/xml" } };
}
