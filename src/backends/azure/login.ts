/** Tokens of Microsoft Entra ID: by a secret, a certificate, the token of a workload, or the identity of a machine. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { copySecret, ModelkeepError, toBase64Url, toHex, utf8, wipe } from "../../base/index.ts";
import type { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { HttpService, readAuthorities, safeOrigin } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { CachedTokens, postForm, refuseLogin, signAssertion, takeAccessToken } from "../oauth.ts";
import { type FullPorts, metadataPorts } from "../ports.ts";
import { guardSecret, readCredentialFile, readSecretFile } from "../private-file.ts";
import type { Fresh } from "../renewing.ts";

export type AzureLoginPorts = Pick<FullPorts, "env" | "clock" | "random" | "signal">;
type Login = (scope: string) => Promise<Fresh<GuardedBytes>>;
/** The secret that proves the application, under the name it has in the form. */
type Proof = () => Promise<{ name: "client_secret" | "client_assertion"; secret: Uint8Array }>;

const AUTHORITY = "https://login.microsoftonline.com/";
const METADATA = "http://169.254.169.254/";
const ID = /^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$/;
const ASSERTION_SECONDS = 600;
const ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const HINT =
  "export AZURE_TENANT_ID and AZURE_CLIENT_ID with AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE";

/**
 * AZURE_TENANT_ID and AZURE_CLIENT_ID with AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH (PEM of key and
 * certificate) or AZURE_FEDERATED_TOKEN_FILE; else the identity of the machine, that of AZURE_CLIENT_ID where it is
 * set. AZURE_AUTHORITY_HOST names another cloud. A scope ends in `/.default`.
 */
export function openAzureTokens(ports: AzureLoginPorts): CachedTokens {
  let login: Promise<Login> | undefined;
  const opened = (): Promise<Login> => {
    login ??= openLogin(ports).catch((error) => {
      login = undefined;
      throw error;
    });
    return login;
  };
  return new CachedTokens(ports.clock, async (scope) => (await opened())(scope));
}

async function openLogin(ports: AzureLoginPorts): Promise<Login> {
  const { env } = ports;
  const { AZURE_CLIENT_ID: client, AZURE_TENANT_ID: tenant, AZURE_CLIENT_SECRET: secret } = env;
  const { AZURE_CLIENT_CERTIFICATE_PATH: certificate, AZURE_FEDERATED_TOKEN_FILE: federated } = env;
  if (!secret && !certificate && !federated) return fromMachine(ports);
  if (!client || !tenant || !ID.test(client) || !ID.test(tenant)) throw missing("AZURE_CLIENT_ID or AZURE_TENANT_ID");
  const authority = safeOrigin(env.AZURE_AUTHORITY_HOST || AUTHORITY);
  if (authority?.pathname !== "/") throw missing("AZURE_AUTHORITY_HOST is https://HOST/");
  const ca = await readAuthorities(env.SSL_CERT_FILE);
  const http = new HttpService(authority.origin, metadataPorts(ports, "far"), { ca });
  const path = `/${tenant}/oauth2/v2.0/token`;
  const audience = `${authority.origin}${path}`;
  const proof = secret
    ? bySecret(secret)
    : certificate
      ? byCertificate(certificate, client, audience, ports)
      : byToken(federated ?? "");
  return async (scope) => {
    const { name, secret: proving } = await proof();
    const fields = {
      client_id: client,
      scope,
      grant_type: "client_credentials",
      ...(name === "client_assertion" ? { client_assertion_type: ASSERTION_TYPE } : {}),
    };
    return takeAccessToken(
      await postForm(http, { path, secretName: name, secret: proving, fields }),
      "login to Entra ID",
    );
  };
}

function bySecret(text: string): Proof {
  const secret = guardSecret(utf8(text), "AZURE_CLIENT_SECRET");
  return async () => ({ name: "client_secret", secret: secret.use(copySecret) });
}

/** Read for each login: the platform exchanges the token every hour. */
function byToken(path: string): Proof {
  return async () => {
    using token = await readSecretFile(path, { mayBeOpenToOthers: true });
    return { name: "client_assertion", secret: token.use(copySecret) };
  };
}

function byCertificate(path: string, client: string, audience: string, ports: AzureLoginPorts): Proof {
  return async () => {
    const { key, thumbprint } = await readPair(path);
    const issued = Math.floor(ports.clock.now() / 1000);
    const claims = { aud: audience, iss: client, sub: client, nbf: issued, exp: issued + ASSERTION_SECONDS };
    const header = { "x5t#S256": thumbprint };
    const secret = signAssertion(key, header, { ...claims, jti: toHex(ports.random.bytes(16)) });
    return { name: "client_assertion", secret };
  };
}

async function readPair(path: string): Promise<{ key: KeyObject; thumbprint: string }> {
  const pem = await readCredentialFile(path, BACKEND_LIMITS.credentialFileBytes);
  try {
    const buffer = Buffer.from(pem.buffer, pem.byteOffset, pem.length);
    const key = createPrivateKey({ key: buffer, format: "pem" });
    const thumbprint = toBase64Url(createHash("sha256").update(new X509Certificate(buffer).raw).digest());
    if (key.asymmetricKeyType === "rsa") return { key, thumbprint };
  } catch {
    // OpenSSL's words may quote the file.
  } finally {
    wipe(pem);
  }
  throw missing(`${path} holds no RSA key with its certificate, in PEM`);
}

/** Azure Instance Metadata Service; AZURE_POD_IDENTITY_AUTHORITY_HOST stands in for it, as in Azure's own libraries. */
function fromMachine(ports: AzureLoginPorts): Login {
  const { AZURE_POD_IDENTITY_AUTHORITY_HOST: given, AZURE_CLIENT_ID: client } = ports.env;
  const place = given ? safeOrigin(given) : new URL(METADATA);
  if (!place || (client && !ID.test(client))) throw missing("AZURE_POD_IDENTITY_AUTHORITY_HOST or AZURE_CLIENT_ID");
  const http = new HttpService(place.origin, metadataPorts(ports, "near"), {});
  return async (scope) => {
    const resource = scope.replace(/\/\.default$/, "");
    const query = new URLSearchParams({
      "api-version": "2018-02-01",
      resource,
      ...(client ? { client_id: client } : {}),
    });
    const request = {
      method: "GET",
      path: `/metadata/identity/oauth2/token?${query}`,
      headers: { metadata: "true" },
    } as const;
    const answer = await http.send(() => request, { repeatable: true }).catch(nobodyThere);
    if ([400, 403, 404].includes(answer.status)) throw missing("the machine has no such identity");
    refuseLogin(answer, "the machine's metadata");
    return takeAccessToken(answer, "the machine's metadata");
  };
}

function nobodyThere(error: unknown): never {
  const gone = error instanceof ModelkeepError && error.code === "KMS_UNREACHABLE";
  throw gone ? missing("no secret, certificate or token, and no machine of Azure's") : error;
}

function missing(detail: string): Error {
  return backendError("KMS_CREDENTIALS_MISSING", { detail, hint: HINT });
}
