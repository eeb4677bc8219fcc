/** A counterpart of Azure Key Vault (REST 7.4), Entra ID and the machine's metadata, from their API reference. */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  verify,
  X509Certificate,
} from "node:crypto";
import { rawOf, signDigest } from "./digest.ts";
import {
  type Answered,
  type Asked,
  decoded,
  extended,
  formOf,
  jwtOf,
  makeToken,
  members,
  type Served,
  serve,
} from "./serve.ts";

// No server of Azure's can be had. This one refuses what it does not know.
export const VAULT_RESOURCE = "https://vault.azure.net";
export const TENANT = "11111111-2222-3333-4444-555555555555";
export const CLIENT = "66666666-7777-8888-9999-000000000000";

export interface AzureLogins extends Served {
  /** Tokens that were given, with the resource each is for. */
  readonly tokens: Map<string, string>;
  readonly secret: string;
  /** Of a workload; may be exchanged. */
  readonly federated: { token: string };
  /** PEM of the certificate that the application may prove itself with. */
  certificate: string | undefined;
}

export async function startAzureLogins(): Promise<AzureLogins> {
  const tokens = new Map<string, string>();
  const state = {
    certificate: undefined as string | undefined,
    secret: `~${randomBytes(12).toString("base64url")}+/&=%`,
    federated: { token: `eyJ.${randomBytes(20).toString("base64url")}.y` },
    origin: "",
  };
  const give = (resource: string): string => {
    const token = makeToken();
    tokens.set(token, resource);
    return token;
  };
  const served = await serve((asked) => {
    if (asked.path === "/metadata/identity/oauth2/token") return machine(asked, give);
    const form = formOf(asked);
    const fits =
      asked.path === `/${TENANT}/oauth2/v2.0/token` &&
      form.client_id === CLIENT &&
      form.grant_type === "client_credentials" &&
      /^https:\/\/[a-z.]+\/\.default$/.test(form.scope ?? "") &&
      proves(form, state, `${state.origin}${asked.path}`);
    if (!fits) return { status: 401, body: { error: "invalid_client", error_description: "AADSTS7000215" } };
    const token = give((form.scope ?? "").replace("/.default", ""));
    return {
      status: 200,
      body: { token_type: "Bearer", expires_in: 3_599, ext_expires_in: 3_599, access_token: token },
    };
  });
  state.origin = served.origin;
  return extended(served, {
    tokens,
    secret: state.secret,
    federated: state.federated,
    get certificate() {
      return state.certificate;
    },
    set certificate(pem: string | undefined) {
      state.certificate = pem;
    },
  });
}

interface Known {
  readonly secret: string;
  readonly federated: { token: string };
  readonly certificate: string | undefined;
}

function proves(form: Record<string, string>, known: Known, audience: string): boolean {
  if (form.client_secret !== undefined) return form.client_secret === known.secret;
  if (form.client_assertion_type !== "urn:ietf:params:oauth:client-assertion-type:jwt-bearer") return false;
  const assertion = form.client_assertion ?? "";
  if (assertion === known.federated.token) return true;
  if (known.certificate === undefined) return false;
  const { header, claims, signed, signature } = jwtOf(assertion);
  const certificate = new X509Certificate(known.certificate);
  const print = Buffer.from(certificate.fingerprint256.replaceAll(":", ""), "hex").toString("base64url");
  const now = Date.now() / 1000;
  const named = claims.iss === CLIENT && claims.sub === CLIENT && claims.aud === audience && claims.jti.length > 8;
  const timely = claims.nbf <= now + 5 && claims.exp > now;
  return header["x5t#S256"] === print && named && timely && verify("sha256", signed, certificate.publicKey, signature);
}

function machine(asked: Asked, give: (resource: string) => string): Answered {
  const { query, headers } = asked;
  if (headers.metadata !== "true" || headers["x-forwarded-for"] !== undefined)
    return {
      status: 400,
      body: { error: "bad_request_102", error_description: "Required metadata header not specified" },
    };
  const [client, resource] = [query.get("client_id"), query.get("resource")];
  if (
    query.get("api-version") !== "2018-02-01" ||
    !resource ||
    resource.endsWith("/.default") ||
    (client && client !== CLIENT)
  )
    return { status: 400, body: { error: "invalid_request", error_description: "Identity not found" } };
  const body = { access_token: give(resource), expires_in: "86399", resource, token_type: "Bearer" };
  return { status: 200, body };
}

interface Version {
  readonly version: string;
  readonly kty: string;
  readonly ops: readonly string[];
  readonly rsa?: KeyObject;
  readonly ec?: KeyObject;
  readonly aes?: Buffer;
  enabled: boolean;
}

export interface AzureKeys extends Served {
  make(
    name: string,
    kind: "RSA" | "RSA-HSM" | "oct-HSM" | "P-256" | "P-384" | "P-521",
    ops?: readonly string[],
  ): string;
  setEnabled(name: string, version: string, enabled: boolean): void;
  remove(name: string): void;
  /** Answers every request with this, when it is set. */
  instead: Answered | undefined;
  /** Changes an answer 200 on its way. */
  alter: ((body: Record<string, unknown>) => void) | undefined;
  /** The resource that a refusal of a token names. */
  challenge: string;
}

class Refusal extends Error {
  readonly answer: Answered;
  constructor(status: number, code: string, message: string, inner?: string) {
    super(message);
    const innererror = inner === undefined ? {} : { innererror: { code: inner } };
    this.answer = { status, body: { error: { code, message, ...innererror } } };
  }
}

export async function startAzureKeys(tokens: ReadonlyMap<string, string>): Promise<AzureKeys> {
  const keys = new Map<string, Version[]>();
  const state: Pick<AzureKeys, "instead" | "alter" | "challenge"> & { host: string } = {
    instead: undefined,
    alter: undefined,
    challenge: VAULT_RESOURCE,
    host: "",
  };
  const served = await serve((asked) => {
    if (state.instead) return state.instead;
    const token = /^Bearer (.+)$/.exec(asked.headers.authorization ?? "")?.[1] ?? "";
    if (tokens.get(token) !== VAULT_RESOURCE) {
      const challenge = `Bearer authorization="https://login.microsoftonline.com/${TENANT}", resource="${state.challenge}"`;
      const body = { error: { code: "Unauthorized", message: "AKV10000: Request is missing a Bearer or PoP token." } };
      return { status: 401, body, headers: { "www-authenticate": challenge } };
    }
    try {
      const body = operate(asked, keys, `https://${state.host}`);
      state.alter?.(body);
      return { status: 200, body };
    } catch (error) {
      if (error instanceof Refusal) return error.answer;
      throw error;
    }
  });
  state.host = served.host;
  const found = (name: string, version: string) => keys.get(name)?.find((one) => one.version === version);
  return extended(served, {
    make(name: string, kind: string, ops?: readonly string[]) {
      const made = versionOf(kind, ops);
      keys.set(name, [...(keys.get(name) ?? []), made]);
      return made.version;
    },
    setEnabled(name: string, version: string, enabled: boolean) {
      const one = found(name, version);
      if (one) one.enabled = enabled;
    },
    remove: (name: string) => void keys.delete(name),
    get instead() {
      return state.instead;
    },
    set instead(answer: Answered | undefined) {
      state.instead = answer;
    },
    get alter() {
      return state.alter;
    },
    set alter(change: AzureKeys["alter"]) {
      state.alter = change;
    },
    get challenge() {
      return state.challenge;
    },
    set challenge(resource: string) {
      state.challenge = resource;
    },
  });
}

const WRAPPING = ["wrapKey", "unwrapKey"];
const SIGNING = ["sign", "verify"];

function versionOf(kind: string, ops: readonly string[] | undefined): Version {
  const version = randomBytes(16).toString("hex");
  if (kind.startsWith("RSA")) {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    return { version, kty: kind, ops: ops ?? WRAPPING, rsa, enabled: true };
  }
  if (kind === "oct-HSM") return { version, kty: kind, ops: ops ?? WRAPPING, aes: randomBytes(32), enabled: true };
  const ec = generateKeyPairSync("ec", { namedCurve: kind }).privateKey;
  return { version, kty: "EC-HSM", ops: ops ?? SIGNING, ec, enabled: true };
}

function operate(asked: Asked, keys: ReadonlyMap<string, Version[]>, vault: string): Record<string, unknown> {
  if (asked.query.get("api-version") !== "7.4") throw new Refusal(400, "BadParameter", "api-version");
  const [, name = "", number, verb] =
    /^\/keys\/([a-zA-Z0-9-]{1,127})(?:\/([0-9a-f]{32}))?(?:\/(wrapkey|unwrapkey|sign))?$/.exec(asked.path) ?? [];
  const versions = keys.get(name) ?? [];
  const key = number === undefined ? versions.at(-1) : versions.find((one) => one.version === number);
  if (!key) throw new Refusal(404, "KeyNotFound", `A key with (name/id) ${name} was not found in this key vault.`);
  const kid = `${vault}/keys/${name}/${key.version}`;
  if (asked.method === "GET" && verb === undefined) return describe(key, kid);
  if (asked.method !== "POST" || verb === undefined || number === undefined)
    throw new Refusal(405, "MethodNotAllowed", "no such operation");
  if (!key.enabled)
    throw new Refusal(403, "Forbidden", `Operation ${verb} is not allowed on a disabled key.`, "KeyDisabled");
  const op = { wrapkey: "wrapKey", unwrapkey: "unwrapKey", sign: "sign" }[verb] ?? "";
  if (!key.ops.includes(op))
    throw new Refusal(403, "Forbidden", `Operation ${op} is not permitted on this key.`, "KeyOperationForbidden");
  const body = asked.headers["content-type"] === "application/json" ? members(asked.body, ["alg", "value"]) : undefined;
  const value = decoded(body?.value, "base64url");
  if (!body || !value) throw new Refusal(400, "BadParameter", "Property has invalid value");
  return { kid, value: run(key, verb, String(body.alg), value).toString("base64url") };
}

function describe(key: Version, kid: string): Record<string, unknown> {
  const half = key.ec ?? key.rsa;
  const { kty: _, ...jwk } = half ? createPublicKey(half).export({ format: "jwk" }) : { kty: "" };
  const times = { created: 1, updated: 1, recoveryLevel: "Recoverable+Purgeable" };
  return { key: { kid, kty: key.kty, key_ops: key.ops, ...jwk }, attributes: { enabled: key.enabled, ...times } };
}

function run(key: Version, verb: string, alg: string, value: Buffer): Buffer {
  const bad = new Refusal(400, "BadParameter", "The parameter is incorrect.");
  try {
    if (verb === "sign" && key.ec) return signing(key.ec, alg, value);
    if (key.rsa && alg === "RSA-OAEP-256") return rsaOaep(key.rsa, verb, value);
    if (key.aes && alg === "A256KW") return keyWrap(key.aes, verb, value);
  } catch {
    throw bad;
  }
  throw new Refusal(400, "BadParameter", "Key and signing algorithm are incompatible, which is not supported");
}

function signing(key: KeyObject, alg: string, digest: Buffer): Buffer {
  const curve = key.asymmetricKeyDetails?.namedCurve ?? "";
  const [name, length, half] =
    { prime256v1: ["ES256", 32, 32], secp384r1: ["ES384", 48, 48], secp521r1: ["ES512", 64, 66] }[curve] ?? [];
  if (name !== alg || length !== digest.length) throw new Error("algorithm");
  return rawOf(signDigest(key, digest), Number(half));
}

function rsaOaep(key: KeyObject, verb: string, value: Buffer): Buffer {
  const options = { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" };
  return verb === "wrapkey"
    ? publicEncrypt({ ...options, key: createPublicKey(key) }, value)
    : privateDecrypt(options, value);
}

/** RFC 3394. */
function keyWrap(key: Buffer, verb: string, value: Buffer): Buffer {
  const iv = Buffer.alloc(8, 0xa6);
  const cipher =
    verb === "wrapkey" ? createCipheriv("id-aes256-wrap", key, iv) : createDecipheriv("id-aes256-wrap", key, iv);
  return Buffer.concat([cipher.update(value), cipher.final()]);
}
