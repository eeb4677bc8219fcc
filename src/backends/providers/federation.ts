/** A token that this server signed for itself, exchanged for one of a provider: there is no key that stays. */
import { z } from "zod";
import { copySecret, wipe } from "../../base/index.ts";
import { processJson } from "../aws/sessions.ts";
import { takeSts } from "../aws/sts.ts";
import { backendError } from "../errors.ts";
import { openImpersonation } from "../google/workload.ts";
import { type HttpAnswer, HttpService, readAuthorities, safeOrigin } from "../http-service.ts";
import { takeMember } from "../json-bytes.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { postForm, refuseLogin, takeAccessToken } from "../oauth.ts";
import { type BackendPorts, type FullPorts, fullPorts } from "../ports.ts";
import { jsonWithText, readAnswer } from "../secret-json.ts";
import type { FoundValue } from "../secret-value.ts";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT = "urn:ietf:params:oauth:token-type:jwt";
const CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform";
/** For an answer that does not say: shorter than any provider's. */
const SILENT_SECONDS = 300;

export interface FederationRequest {
  /** Of the configuration. */
  readonly settings: Readonly<Record<string, string>>;
  /** Whom to become: a service account, a client, a role. */
  readonly identity: string;
  readonly query: Readonly<Record<string, string>>;
}

export type IdentityAlgorithm = "ES256" | "RS256";

interface FederationDialect {
  /** Settings that there must be. */
  readonly needs: readonly string[];
  readonly origin: (settings: Readonly<Record<string, string>>) => string;
  /** Whom our token is for, unless the configuration says it. */
  readonly audience: (settings: Readonly<Record<string, string>>) => string;
  readonly path: (settings: Readonly<Record<string, string>>) => string;
  readonly secretName: string;
  readonly fields: (request: FederationRequest) => Readonly<Record<string, string>>;
  readonly as: "form" | "json";
  /** ES256 when absent. */
  readonly algorithm?: IdentityAlgorithm;
  readonly headers?: Readonly<Record<string, string>>;
}

const ALGORITHMS: readonly IdentityAlgorithm[] = ["ES256", "RS256"];
const always = (text: string) => () => text;

/** The token endpoints of providers, from their references. */
const FEDERATION: Readonly<Record<string, FederationDialect>> = {
  anthropic: {
    needs: ["organization", "rule"],
    origin: always("https://api.anthropic.com"),
    audience: always("https://api.anthropic.com"),
    path: always("/v1/oauth/token"),
    secretName: "assertion",
    fields: ({ settings, identity, query }) => ({
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      organization_id: settings.organization ?? "",
      federation_rule_id: settings.rule ?? "",
      service_account_id: identity,
      ...(query.workspace === undefined ? {} : { workspace_id: query.workspace }),
    }),
    as: "json",
    headers: { "anthropic-beta": "oauth-2025-04-20,oidc-federation-2026-04-01" },
  },
  aws: {
    needs: ["region"],
    origin: ({ region = "" }) => `https://sts.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`,
    audience: always("sts.amazonaws.com"),
    path: always("/"),
    secretName: "WebIdentityToken",
    fields: ({ identity, query }) => ({
      Action: "AssumeRoleWithWebIdentity",
      Version: "2011-06-15",
      RoleArn: identity,
      RoleSessionName: query.session ?? "modelkeep",
      DurationSeconds: "900",
    }),
    as: "form",
  },
  azure: {
    needs: ["tenant"],
    origin: always("https://login.microsoftonline.com"),
    audience: always("api://AzureADTokenExchange"),
    path: ({ tenant = "" }) => `/${tenant}/oauth2/v2.0/token`,
    secretName: "client_assertion",
    fields: ({ identity, query }) => ({
      grant_type: "client_credentials",
      client_id: identity,
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      scope: query.scope ?? "https://cognitiveservices.azure.com/.default",
    }),
    as: "form",
    algorithm: "RS256",
  },
  google: {
    needs: ["provider"],
    origin: always("https://sts.googleapis.com"),
    audience: ({ provider = "" }) => `https:${provider}`,
    path: always("/v1/token"),
    secretName: "subject_token",
    fields: ({ settings }) => ({
      grant_type: EXCHANGE,
      audience: settings.provider ?? "",
      scope: CLOUD_PLATFORM,
      requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
      subject_token_type: JWT,
    }),
    as: "form",
  },
  openai: {
    needs: ["provider"],
    origin: always("https://auth.openai.com"),
    audience: always("https://api.openai.com/v1"),
    path: always("/oauth/token"),
    secretName: "subject_token",
    fields: ({ settings, identity }) => ({
      grant_type: EXCHANGE,
      subject_token_type: JWT,
      identity_provider_id: settings.provider ?? "",
      service_account_id: identity,
    }),
    as: "json",
  },
  openrouter: {
    needs: [],
    origin: always("https://openrouter.ai"),
    audience: always("https://openrouter.ai"),
    path: always("/api/v1/oauth/token"),
    secretName: "subject_token",
    fields: ({ identity }) => ({ grant_type: EXCHANGE, subject_token_type: JWT, federation_policy_id: identity }),
    as: "form",
  },
};

export interface Federation {
  readonly audience: string;
  /** What our token must be signed with. */
  readonly algorithm: IdentityAlgorithm;
  /** `token` is wiped. What comes back ends by itself. */
  exchange(token: Uint8Array, request: Omit<FederationRequest, "settings">): Promise<FoundValue>;
}

/**
 * The setting `at` stands in for the provider's own address (TLS, or this machine), `aud` for the usual audience, `alg`
 * for the usual algorithm. Throws
 * KMS_URI_UNKNOWN.
 */
export async function openFederation(
  provider: string,
  settings: Readonly<Record<string, string>>,
  given: BackendPorts,
): Promise<Federation> {
  const ports = fullPorts(given);
  const dialect = FEDERATION[provider];
  const lacking = dialect?.needs.find((name) => !settings[name]);
  const place = dialect && safeOrigin(settings.at ?? dialect.origin(settings));
  if (!dialect || lacking !== undefined || place?.pathname !== "/")
    throw backendError("KMS_URI_UNKNOWN", {
      detail: dialect ? `federation:${provider} needs ${lacking ?? "an address"}` : "no such provider",
    });
  const algorithm = ALGORITHMS.find((name) => name === (settings.alg ?? dialect.algorithm ?? "ES256"));
  if (!algorithm) throw backendError("KMS_URI_UNKNOWN", { detail: `alg is ${ALGORITHMS.join(" or ")}` });
  const ca = await readAuthorities(ports.env.SSL_CERT_FILE);
  const http = new HttpService(place.origin, ports, { ca, hint: "name its authority: export SSL_CERT_FILE=FILE.pem" });
  return {
    audience: settings.aud ?? dialect.audience(settings),
    algorithm,
    async exchange(token, request) {
      const full = { ...request, settings };
      const answer = await post(http, dialect, { token, path: dialect.path(settings), fields: dialect.fields(full) });
      const who = `federation:${provider}`;
      if (provider === "aws") return awsKeys(answer, who, ports);
      if (provider === "google" && request.identity !== "-") return become(answer, full, ports);
      return tokenOf(answer, who, ports);
    },
  };
}

interface Post {
  readonly token: Uint8Array;
  readonly path: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** Exchanging a token again does no harm. */
async function post(
  http: HttpService,
  { as, secretName, headers: more }: FederationDialect,
  { token, path, fields }: Post,
) {
  if (as === "form") return postForm(http, { path, secretName, secret: token, fields });
  const body = jsonWithText(secretName, token, fields);
  wipe(token);
  const headers = { "content-type": "application/json", accept: "application/json", ...more };
  try {
    return await http.send(() => ({ method: "POST", path, headers, body }), { repeatable: true });
  } finally {
    wipe(body);
  }
}

const lifeSchema = z.object({ expires_in: z.coerce.number().positive().max(86_400).default(SILENT_SECONDS) });

function tokenOf(answer: HttpAnswer, who: string, ports: FullPorts): FoundValue {
  refuseLogin(answer, who);
  const value = takeMember(answer.body, ["access_token"]);
  try {
    const seconds = Math.floor(readAnswer(answer, lifeSchema).expires_in);
    if (value && value.length > 0 && value.length <= BACKEND_LIMITS.accessTokenBytes)
      return { value, lease: leaseFor(seconds, ports) };
    throw backendError("KMS_ANSWER_INVALID", { detail: `${who}: the token` });
  } catch (error) {
    wipe(value ?? new Uint8Array(0));
    throw error;
  } finally {
    wipe(answer.body);
  }
}

/** The lease has no other name there: nobody can end it earlier. */
function leaseFor(ttlSeconds: number, { random }: FullPorts) {
  return { id: `federated/${Buffer.from(random.bytes(12)).toString("hex")}`, ttlSeconds, renewable: false };
}

async function become(answer: HttpAnswer, { settings, identity, query }: FederationRequest, ports: FullPorts) {
  const usual = settings.at ?? "https://iamcredentials.googleapis.com";
  const place = `${usual}/v1/projects/-/serviceAccounts/${identity}:generateAccessToken`;
  const impersonate = await openImpersonation(place, ports);
  const federated = takeAccessToken(answer, "federation:google");
  const { value, lifeSeconds = SILENT_SECONDS } = await impersonate(federated, query.scope ?? CLOUD_PLATFORM);
  using token = value;
  return { value: token.use(copySecret), lease: leaseFor(Math.floor(lifeSeconds), ports) };
}

function awsKeys(answer: HttpAnswer, who: string, ports: FullPorts): FoundValue {
  refuseLogin(answer, who);
  const keys = takeSts(answer.body);
  try {
    const seconds = Math.floor((Date.parse(keys.expiration) - ports.clock.now()) / 1000);
    return { value: processJson(keys), lease: leaseFor(Math.max(0, seconds), ports) };
  } finally {
    wipe(keys.secretKey);
    wipe(keys.sessionToken);
  }
}
