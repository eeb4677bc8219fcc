/** A counterpart of Google Cloud KMS (REST v1) and of Google's logins, written from their API reference. */
import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  verify,
} from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../../sealing/support.ts";
import { signDigest } from "./digest.ts";
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

// No server of Google's can be had. This one refuses unknown members, bytes that are not canonical, wrong checksums.
export const CLOUDKMS = "https://www.googleapis.com/auth/cloudkms";
const CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform";
const EMAIL = "keeper@project.iam.gserviceaccount.com";
export const AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x";

export interface GoogleLogins extends Served {
  /** Tokens that were given, with the scope each is for. */
  readonly tokens: Map<string, string>;
  /** Of answers; the clock of the tests does not move. */
  lifeSeconds: number;
  readonly serviceAccount: string;
  externalAccount(options?: { impersonate?: boolean; json?: boolean }): string;
  readonly subject: { token: string };
}

export async function startGoogleLogins(): Promise<GoogleLogins> {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const tokens = new Map<string, string>();
  const subject = { token: `eyJ.${randomBytes(20).toString("base64url")}.x` };
  const state = { lifeSeconds: 3_600, origin: "" };
  const give = (scope: string): string => {
    const token = makeToken();
    tokens.set(token, scope);
    return token;
  };
  const answer = (scope: string): Answered => ({
    status: 200,
    body: { access_token: give(scope), expires_in: state.lifeSeconds, token_type: "Bearer" },
  });
  const refused: Answered = { status: 400, body: { error: "invalid_grant", error_description: "no" } };
  const served = await serve((asked) => {
    const form = formOf(asked);
    if (asked.path === "/token")
      return bearerFits(form, publicKey, `${state.origin}/token`) ? answer(scopeIn(form)) : refused;
    if (asked.path === "/v1/token") return exchangeFits(form, subject.token) ? answer(form.scope ?? "") : refused;
    if (asked.path.endsWith(":generateAccessToken")) return impersonate(asked, tokens, give, state.lifeSeconds);
    if (asked.path === "/computeMetadata/v1/instance/service-accounts/default/token") return metadata(asked, answer);
    return { status: 404, body: {} };
  });
  state.origin = served.origin;
  const folder = temporaryFolder();
  return extended(served, {
    tokens,
    subject,
    get lifeSeconds() {
      return state.lifeSeconds;
    },
    set lifeSeconds(seconds: number) {
      state.lifeSeconds = seconds;
    },
    serviceAccount: writeServiceAccount(folder, privateKey, served.origin),
    externalAccount: (options: { impersonate?: boolean; json?: boolean } = {}) =>
      writeExternalAccount(temporaryFolder(), served.origin, subject.token, options),
  });
}

function bearerFits(form: Record<string, string>, key: KeyObject, audience: string): boolean {
  if (form.grant_type !== "urn:ietf:params:oauth:grant-type:jwt-bearer") return false;
  const { header, claims, signed, signature } = jwtOf(form.assertion ?? "");
  const now = Date.now() / 1000;
  const timely = claims.iat <= now + 5 && claims.exp > now && claims.exp - claims.iat <= 3_600;
  const named = claims.iss === EMAIL && claims.aud === audience && header.alg === "RS256" && header.kid === "key-1";
  return timely && named && verify("sha256", signed, key, signature);
}

const scopeIn = (form: Record<string, string>): string => jwtOf(form.assertion ?? "").claims.scope;

function exchangeFits(form: Record<string, string>, subject: string): boolean {
  return (
    form.grant_type === "urn:ietf:params:oauth:grant-type:token-exchange" &&
    form.requested_token_type === "urn:ietf:params:oauth:token-type:access_token" &&
    form.subject_token_type === "urn:ietf:params:oauth:token-type:jwt" &&
    form.audience === AUDIENCE &&
    form.subject_token === subject
  );
}

function impersonate(
  asked: Asked,
  tokens: Map<string, string>,
  give: (scope: string) => string,
  lifeSeconds: number,
): Answered {
  const federated = tokens.get(/^Bearer (.+)$/.exec(asked.headers.authorization ?? "")?.[1] ?? "");
  const scope = members(asked.body, ["scope", "lifetime"])?.scope;
  if (federated !== CLOUD_PLATFORM || !Array.isArray(scope)) return { status: 403, body: { error: { code: 403 } } };
  const expireTime = new Date(Date.now() + lifeSeconds * 1000).toISOString();
  return { status: 200, body: { accessToken: give(String(scope[0])), expireTime } };
}

function metadata(asked: Asked, answer: (scope: string) => Answered): Answered {
  if (asked.headers["metadata-flavor"] !== "Google")
    return { status: 403, body: "Missing Metadata-Flavor:Google header." };
  return { ...answer(asked.query.get("scopes") ?? ""), headers: { "metadata-flavor": "Google" } };
}

function writeServiceAccount(folder: string, key: KeyObject, origin: string): string {
  const path = join(folder, "account.json");
  const account = {
    type: "service_account",
    project_id: "project",
    private_key_id: "key-1",
    private_key: key.export({ type: "pkcs8", format: "pem" }),
    client_email: EMAIL,
    client_id: "1",
    token_uri: `${origin}/token`,
    universe_domain: "googleapis.com",
  };
  writeFileSync(path, JSON.stringify(account, undefined, 2), { mode: 0o600 });
  return path;
}

function writeExternalAccount(
  folder: string,
  origin: string,
  subject: string,
  { impersonate: become = false, json = false }: { impersonate?: boolean; json?: boolean },
): string {
  const [file, path] = [join(folder, "subject"), join(folder, "external.json")];
  writeFileSync(file, json ? JSON.stringify({ id_token: subject }) : `${subject}\n`, { mode: 0o644 });
  const account = {
    type: "external_account",
    audience: AUDIENCE,
    subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
    token_url: `${origin}/v1/token`,
    ...(become
      ? { service_account_impersonation_url: `${origin}/v1/projects/-/serviceAccounts/${EMAIL}:generateAccessToken` }
      : {}),
    credential_source: {
      file,
      ...(json ? { format: { type: "json", subject_token_field_name: "id_token" } } : {}),
    },
  };
  writeFileSync(path, JSON.stringify(account), { mode: 0o644 });
  return path;
}

type State = "ENABLED" | "DISABLED" | "DESTROYED" | "DESTROY_SCHEDULED";

interface Version {
  state: State;
  readonly aes: Buffer;
  readonly ec: KeyObject | undefined;
}

export interface GoogleKms extends Served {
  /** The resource name. */
  make(name: string, algorithm?: "EC_SIGN_P256_SHA256" | "EC_SIGN_P384_SHA384" | "EC_SIGN_SECP256K1_SHA256"): string;
  rotate(name: string): void;
  setState(name: string, version: number, state: State): void;
  remove(name: string): void;
  /** Who holds one of these tokens may use keys and not look at them. */
  readonly blind: Set<string>;
  /** Changes an answer 200 on its way. */
  alter: ((body: Record<string, unknown>) => void) | undefined;
}

interface Key {
  readonly purpose: "ENCRYPT_DECRYPT" | "ASYMMETRIC_SIGN";
  readonly algorithm: string;
  readonly versions: Version[];
}

const CURVE: Record<string, string> = {
  EC_SIGN_P256_SHA256: "P-256",
  EC_SIGN_P384_SHA384: "P-384",
  EC_SIGN_SECP256K1_SHA256: "secp256k1",
};
const HASH: Record<string, string> = {
  EC_SIGN_P256_SHA256: "sha256",
  EC_SIGN_P384_SHA384: "sha384",
  EC_SIGN_SECP256K1_SHA256: "sha256",
};

class Refusal extends Error {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

const invalid = (message: string) => new Refusal(400, "INVALID_ARGUMENT", message);

export async function startGoogleKms(tokens: ReadonlyMap<string, string>): Promise<GoogleKms> {
  const keys = new Map<string, Key>();
  const blind = new Set<string>();
  const state: { alter: GoogleKms["alter"] } = { alter: undefined };
  const served = await serve((asked) => {
    const token = /^Bearer (.+)$/.exec(asked.headers.authorization ?? "")?.[1] ?? "";
    try {
      if (tokens.get(token) !== CLOUDKMS)
        throw new Refusal(401, "UNAUTHENTICATED", "invalid authentication credentials");
      const body = operate(asked, keys, blind.has(token));
      state.alter?.(body);
      return { status: 200, body };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { status, reason, message } = error;
      return { status, body: { error: { code: status, message, status: reason } } };
    }
  });
  const versionOf = (algorithm: string | undefined): Version => ({
    state: "ENABLED",
    aes: randomBytes(32),
    ec: algorithm ? generateKeyPairSync("ec", { namedCurve: CURVE[algorithm] ?? "" }).privateKey : undefined,
  });
  return extended(served, {
    blind,
    get alter() {
      return state.alter;
    },
    set alter(change: GoogleKms["alter"]) {
      state.alter = change;
    },
    make(name: string, algorithm?: string) {
      const path = `projects/project/locations/europe-west3/keyRings/ring/cryptoKeys/${name}`;
      const purpose = algorithm ? "ASYMMETRIC_SIGN" : "ENCRYPT_DECRYPT";
      keys.set(path, {
        purpose,
        algorithm: algorithm ?? "GOOGLE_SYMMETRIC_ENCRYPTION",
        versions: [versionOf(algorithm)],
      });
      return path;
    },
    rotate: (name: string) => void keys.get(name)?.versions.push(versionOf(undefined)),
    setState(name: string, version: number, next: State) {
      const found = keys.get(name)?.versions[version - 1];
      if (found) found.state = next;
    },
    remove: (name: string) => void keys.delete(name),
  });
}

const PATH =
  /^\/v1\/(projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/[^/:]+)(?:\/cryptoKeyVersions\/(\d+))?(?:\/(publicKey)|:(encrypt|decrypt|asymmetricSign))?$/;

function operate(asked: Asked, keys: ReadonlyMap<string, Key>, isBlind: boolean): Record<string, unknown> {
  const [, name = "", number, tail, verb] = PATH.exec(asked.path) ?? [];
  const key = keys.get(name);
  if (!key) throw new Refusal(404, "NOT_FOUND", `CryptoKey ${name} not found.`);
  if (asked.method === "GET" && !tail && !verb) {
    if (isBlind) throw new Refusal(403, "PERMISSION_DENIED", "Permission 'cloudkms.cryptoKeys.get' denied");
    return {
      name,
      purpose: key.purpose,
      primary: { name: `${name}/cryptoKeyVersions/1`, state: key.versions[0]?.state },
    };
  }
  if (asked.method === "GET" && tail) return publicKey(key, name, Number(number));
  if (asked.method !== "POST" || asked.headers["content-type"] !== "application/json")
    throw invalid("Invalid JSON payload");
  if (verb === "encrypt") return encrypt(key, name, number, asked.body);
  if (verb === "decrypt" && number === undefined) return decrypt(key, asked.body);
  if (verb === "asymmetricSign") return asymmetricSign(key, name, Number(number), asked.body);
  throw new Refusal(404, "NOT_FOUND", "Method not found.");
}

function enabled(key: Key, name: string, number: number, purpose: Key["purpose"]): Version {
  const version = key.versions[number - 1];
  const full = `${name}/cryptoKeyVersions/${number}`;
  if (!version) throw new Refusal(404, "NOT_FOUND", `CryptoKeyVersion ${full} not found.`);
  if (key.purpose !== purpose)
    throw new Refusal(400, "FAILED_PRECONDITION", `${full} has purpose ${key.purpose}, which does not support this`);
  if (version.state !== "ENABLED")
    throw new Refusal(400, "FAILED_PRECONDITION", `${full} is not enabled, current state is: ${version.state}.`);
  return version;
}

function checked(value: unknown, sum: unknown, what: string): Buffer {
  const bytes = decoded(value, "base64");
  if (!bytes) throw invalid(`Invalid value at '${what}' (TYPE_BYTES), Base64 decoding failed`);
  if (sum !== undefined && sum !== crcOf(bytes)) throw invalid(`The checksum in field ${what}_crc32c did not match`);
  return bytes;
}

function encrypt(key: Key, name: string, number: string | undefined, body: string): Record<string, unknown> {
  const names = ["plaintext", "additionalAuthenticatedData", "plaintextCrc32c", "additionalAuthenticatedDataCrc32c"];
  const asked = members(body, names);
  if (!asked) throw invalid("Invalid JSON payload received. Unknown name");
  const plaintext = checked(asked.plaintext, asked.plaintextCrc32c, "plaintext");
  const aad = checked(asked.additionalAuthenticatedData ?? "", asked.additionalAuthenticatedDataCrc32c, "aad");
  if (plaintext.length > 65_536 || aad.length > 65_536) throw invalid("The request is too large");
  const primary = number === undefined ? key.versions.length : Number(number);
  const version = enabled(key, name, primary, "ENCRYPT_DECRYPT");
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", version.aes, nonce).setAAD(aad);
  const sealed = Buffer.concat([
    Buffer.of(primary),
    nonce,
    cipher.update(plaintext),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  return {
    name: `${name}/cryptoKeyVersions/${primary}`,
    ciphertext: sealed.toString("base64"),
    ciphertextCrc32c: crcOf(sealed),
    verifiedPlaintextCrc32c: asked.plaintextCrc32c !== undefined,
    verifiedAdditionalAuthenticatedDataCrc32c: asked.additionalAuthenticatedDataCrc32c !== undefined,
    protectionLevel: "SOFTWARE",
  };
}

function decrypt(key: Key, body: string): Record<string, unknown> {
  const names = ["ciphertext", "additionalAuthenticatedData", "ciphertextCrc32c", "additionalAuthenticatedDataCrc32c"];
  const asked = members(body, names);
  if (!asked) throw invalid("Invalid JSON payload received. Unknown name");
  const sealed = checked(asked.ciphertext, asked.ciphertextCrc32c, "ciphertext");
  const aad = checked(asked.additionalAuthenticatedData ?? "", asked.additionalAuthenticatedDataCrc32c, "aad");
  const failed = invalid("Decryption failed: verify that 'name' refers to the correct CryptoKey.");
  if (sealed.length < 30 || !key.versions[(sealed[0] ?? 0) - 1]) throw failed;
  const version = enabled(key, "the key", sealed[0] ?? 0, "ENCRYPT_DECRYPT");
  try {
    const decipher = createDecipheriv("aes-256-gcm", version.aes, sealed.subarray(1, 13)).setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-16));
    const plaintext = Buffer.concat([decipher.update(sealed.subarray(13, -16)), decipher.final()]);
    return { plaintext: plaintext.toString("base64"), plaintextCrc32c: crcOf(plaintext), usedPrimary: true };
  } catch {
    throw failed;
  }
}

function publicKey(key: Key, name: string, number: number): Record<string, unknown> {
  if (key.purpose !== "ASYMMETRIC_SIGN")
    throw new Refusal(400, "FAILED_PRECONDITION", "this operation is not supported for the purpose ENCRYPT_DECRYPT");
  const { ec } = enabled(key, name, number, "ASYMMETRIC_SIGN");
  const pem = createPublicKey(ec as KeyObject)
    .export({ type: "spki", format: "pem" })
    .toString();
  return {
    pem,
    algorithm: key.algorithm,
    pemCrc32c: crcOf(Buffer.from(pem)),
    name: `${name}/cryptoKeyVersions/${number}`,
  };
}

function asymmetricSign(key: Key, name: string, number: number, body: string): Record<string, unknown> {
  const asked = members(body, ["digest", "digestCrc32c"]);
  const hash = HASH[key.algorithm] ?? "";
  const digest = members(JSON.stringify(asked?.digest ?? 0), [hash]);
  if (!asked || !digest) throw invalid(`the digest must be of ${hash}`);
  const bytes = checked(digest[hash], asked.digestCrc32c, "digest");
  const { ec } = enabled(key, name, number, "ASYMMETRIC_SIGN");
  const signature = signDigest(ec as KeyObject, bytes);
  return {
    signature: signature.toString("base64"),
    signatureCrc32c: crcOf(signature),
    verifiedDigestCrc32c: asked.digestCrc32c !== undefined,
    name: `${name}/cryptoKeyVersions/${number}`,
  };
}

/** Bit by bit, as RFC 3720 describes it, so that it shares nothing with what it checks. */
export function crcOf(bytes: Uint8Array): string {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const differs = ((crc ^ (byte >> bit)) & 1) === 1;
      crc = (crc >>> 1) ^ (differs ? 0x82f63b78 : 0);
    }
  }
  return String(~crc >>> 0);
}
