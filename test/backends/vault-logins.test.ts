/** Logins of machines to Vault and to OpenBao, both real: a JWT, Kubernetes, a TLS certificate; and which one is taken. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { codeOf, random, temporaryFolder } from "../sealing/support.ts";
import { members, type Served, serve } from "./counterparts/serve.ts";
import { startVault, VAULTS, type VaultPeer } from "./peers.ts";

const context = { package_id: "p", root_digest: "r" };
const KEY = randomBytes(32);
const limits = { attempts: 2, backoffMilliseconds: 5 };
const SERVICE_ACCOUNT = "system:serviceaccount:models:keeper";
const signer = generateKeyPairSync("rsa", { modulusLength: 2048 });
const publicPem = signer.publicKey.export({ type: "spki", format: "pem" }).toString();

type Env = Record<string, string>;

function jwt(claims: Record<string, unknown>): string {
  const now = Math.floor(Date.now() / 1000);
  const parts = [
    { alg: "RS256", typ: "JWT" },
    { iat: now, nbf: now, exp: now + 600, ...claims },
  ];
  const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${text}.${sign("sha256", Buffer.from(text), signer.privateKey).toString("base64url")}`;
}

function file(content: string, mode = 0o600): string {
  const path = join(temporaryFolder(), "credential");
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
}

function certificate(name: string, subject: string): { key: string; cert: string } {
  const folder = temporaryFolder();
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject];
  execFileSync("openssl", [...words, "-addext", `subjectAltName=${name}`, "-keyout", key, "-out", cert], {
    stdio: "pipe",
  });
  return { key, cert };
}

async function done(answer: Promise<{ status: number; body: unknown }>): Promise<void> {
  const { status, body } = await answer;
  assert.ok(status === 200 || status === 204, JSON.stringify(body));
}

/** Wraps and unwraps once in the name that the environment gives. */
async function uses(peer: VaultPeer, env: Env): Promise<void> {
  const query = peer.origin.startsWith("http:") ? "?insecure-http=1" : "";
  const wrapper = await openKeyWrapper(`vault://${peer.host}/transit/kek${query}`, { random, limits, env });
  assert.deepEqual(Buffer.from(await wrapper.unwrap(await wrapper.wrap(KEY, context), context)), KEY);
}

/** A counterpart of Kubernetes' TokenReview, written from its API reference: it knows one service account's token. */
function startKubernetes(known: string, reviewer: string): Promise<Served> {
  return serve((asked) => {
    if (asked.path !== "/apis/authentication.k8s.io/v1/tokenreviews" || asked.method !== "POST") return { status: 404 };
    if (asked.headers.authorization !== `Bearer ${reviewer}`)
      return { status: 401, body: { kind: "Status", code: 401 } };
    const review = members(asked.body, ["kind", "apiVersion", "metadata", "spec", "status"]);
    const spec = review?.spec as { token?: string; audiences?: string[] } | undefined;
    const user = { username: SERVICE_ACCOUNT, uid: "uid-1", groups: ["system:serviceaccounts"] };
    const audiences = spec?.audiences?.filter((audience) => audience === "vault");
    const fits = spec?.token === known && audiences?.length !== 0;
    const status = fits ? { authenticated: true, user, audiences } : { authenticated: false, error: "no" };
    return { status: 201, body: { kind: "TokenReview", apiVersion: "authentication.k8s.io/v1", spec, status } };
  });
}

for (const { kind, missing } of VAULTS) {
  let peer: VaultPeer | undefined;
  before(async () => {
    peer = await startVault(kind);
    if (peer) await prepare(peer);
  });

  test(`${kind}: a JWT in a file logs in, with a role and with the mount's own, and one of a stranger does not`, async (t) => {
    if (!peer) return t.skip(missing);
    await done(peer.ask("POST", "sys/auth/pipelines/jwt", { type: "jwt" }));
    const path = "auth/pipelines/jwt";
    await done(peer.ask("POST", `${path}/config`, { jwt_validation_pubkeys: [publicPem], default_role: "keeper" }));
    const role = { role_type: "jwt", bound_audiences: ["vault"], user_claim: "sub", token_policies: "keeper" };
    await done(peer.ask("POST", `${path}/role/keeper`, role));
    const good = file(jwt({ sub: "job-1", aud: "vault", iss: "ci" }), 0o644);
    const env = { VAULT_JWT_FILE: good, VAULT_JWT_MOUNT: "pipelines/jwt" };
    await uses(peer, { ...env, VAULT_JWT_ROLE: "keeper" });
    await uses(peer, env);
    const vault = peer;
    const refused = (more: Env) => codeOf(() => uses(vault, { ...env, ...more }));
    assert.equal(await refused({ VAULT_JWT_ROLE: "nobody" }), "KMS_CREDENTIALS_REFUSED");
    assert.equal(await refused({ VAULT_JWT_MOUNT: "elsewhere" }), "KMS_CREDENTIALS_REFUSED");
    const other = file(jwt({ sub: "job-1", aud: "another" }));
    assert.equal(await refused({ VAULT_JWT_FILE: other }), "KMS_CREDENTIALS_REFUSED");
    const over = file(jwt({ sub: "job-1", aud: "vault", nbf: 1, iat: 1, exp: 1000 }));
    assert.equal(await refused({ VAULT_JWT_FILE: over }), "KMS_CREDENTIALS_REFUSED");
    assert.equal(await refused({ VAULT_JWT_MOUNT: "../sys" }), "KMS_CREDENTIALS_MISSING");
    assert.equal(await refused({ VAULT_JWT_ROLE: 'a","x":"' }), "KMS_CREDENTIALS_MISSING");
    assert.equal(await refused({ VAULT_JWT_FILE: file('a"b') }), "KMS_CREDENTIALS_MISSING");
  });

  test(`${kind}: a pod's service account logs in, another one's does not`, async (t) => {
    if (!peer) return t.skip(missing);
    const claims = { "kubernetes.io": { namespace: "models", serviceaccount: { name: "keeper", uid: "uid-1" } } };
    const token = jwt({ iss: "https://kubernetes.default.svc", sub: SERVICE_ACCOUNT, aud: ["vault"], ...claims });
    const kubernetes = await startKubernetes(token, "reviewer");
    await done(peer.ask("POST", "sys/auth/kubernetes", { type: "kubernetes" }));
    const config = { kubernetes_host: kubernetes.origin, token_reviewer_jwt: "reviewer", disable_local_ca_jwt: true };
    const ca = readFileSync(certificate("DNS:k", "/CN=k").cert, "utf8");
    await done(peer.ask("POST", "auth/kubernetes/config", { ...config, kubernetes_ca_cert: ca }));
    const bound = { bound_service_account_names: "keeper", bound_service_account_namespaces: "models" };
    await done(
      peer.ask("POST", "auth/kubernetes/role/keeper", { ...bound, audience: "vault", token_policies: "keeper" }),
    );
    const env = { VAULT_KUBERNETES_ROLE: "keeper", VAULT_KUBERNETES_TOKEN_FILE: file(token, 0o644) };
    await uses(peer, env);
    assert.equal(kubernetes.seen.length, 1);
    const forged = file(jwt({ sub: SERVICE_ACCOUNT, aud: ["vault"], ...claims, jti: "x" }));
    const vault = peer;
    const refused = await codeOf(() => uses(vault, { ...env, VAULT_KUBERNETES_TOKEN_FILE: forged }));
    assert.equal(refused, "KMS_CREDENTIALS_REFUSED");
    const absent = await codeOf(() => uses(vault, { VAULT_KUBERNETES_ROLE: "keeper" }));
    assert.equal(absent, "KMS_CREDENTIALS_MISSING", "outside of a pod there is no token");
  });

  test(`${kind}: a certificate logs in over TLS, and one that is not known does not`, async (t) => {
    const tls = certificate("IP:127.0.0.1", "/CN=server");
    const secure = await startVault(kind, tls);
    if (!secure) return t.skip(missing);
    await prepare(secure);
    await done(secure.ask("POST", "sys/auth/cert", { type: "cert" }));
    const mine = certificate("DNS:keeper.example", "/CN=keeper");
    const pem = readFileSync(mine.cert, "utf8");
    await done(secure.ask("POST", "auth/cert/certs/keeper", { certificate: pem, token_policies: "keeper" }));
    const env = { VAULT_CACERT: tls.cert, VAULT_CLIENT_CERT: mine.cert, VAULT_CLIENT_KEY: mine.key };
    await uses(secure, env);
    await uses(secure, { ...env, VAULT_CERT_ROLE: "keeper" });
    const other = certificate("DNS:keeper.example", "/CN=keeper");
    const refused = (more: Env) => codeOf(() => uses(secure, { ...env, ...more }));
    const stranger = { VAULT_CLIENT_CERT: other.cert, VAULT_CLIENT_KEY: other.key };
    assert.equal(await refused(stranger), "KMS_CREDENTIALS_REFUSED");
    assert.equal(await refused({ VAULT_CERT_ROLE: "nobody" }), "KMS_CREDENTIALS_REFUSED");
    chmodSync(mine.key, 0o644);
    assert.equal(await refused({}), "KMS_CREDENTIALS_MISSING");
  });
}

async function prepare(peer: VaultPeer): Promise<void> {
  await done(peer.ask("POST", "transit/keys/kek", { type: "aes256-gcm96" }));
  const rules = 'path "transit/*" { capabilities = ["update", "read"] }';
  await done(peer.ask("POST", "sys/policy/keeper", { policy: rules }));
}
