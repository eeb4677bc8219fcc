/** How machines log in to Google, Azure and AWS: each way, what is kept, and what is not sent to whom. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { inspect } from "node:util";
import { AwsCredentialSource } from "../../src/backends/aws/credentials.ts";
import { openAzureTokens } from "../../src/backends/azure/login.ts";
import { openGoogleTokens } from "../../src/backends/google/login.ts";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { systemClock } from "../../src/host/index.ts";
import { codeOf, random, temporaryFolder } from "../sealing/support.ts";
import { type AwsMachine, startAwsMachine } from "./counterparts/aws.ts";
import { type AzureLogins, CLIENT, startAzureLogins, TENANT, VAULT_RESOURCE } from "./counterparts/azure.ts";
import { CLOUDKMS, type GoogleLogins, startGoogleKms, startGoogleLogins } from "./counterparts/google.ts";
import { askMoto, NO_MOTO, startMoto } from "./peers.ts";

type Env = Record<string, string>;

/** A clock whose date is right and whose monotonic time the test turns on. */
function turningClock() {
  const state = { ahead: 0 };
  return {
    now: () => systemClock.now(),
    monotonic: () => systemClock.monotonic() + state.ahead,
    turn(seconds: number) {
      state.ahead += seconds * 1000;
    },
  };
}

const portsOf = (env: Env, clock = systemClock) => ({ env, clock, random });
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
const NOBODY = "127.0.0.1:9";
const empty = temporaryFolder();

let google: GoogleLogins;
let azure: AzureLogins;
let machine: AwsMachine;
before(async () => {
  google = await startGoogleLogins();
  azure = await startAzureLogins();
  machine = await startAwsMachine();
});

async function googleScope(env: Env): Promise<string | undefined> {
  return google.tokens.get(text(await openGoogleTokens(portsOf({ CLOUDSDK_CONFIG: empty, ...env })).token(CLOUDKMS)));
}

async function azureResource(env: Env): Promise<string | undefined> {
  const scope = `${VAULT_RESOURCE}/.default`;
  return azure.tokens.get(text(await openAzureTokens(portsOf(env)).token(scope)));
}

test("google: a service account, a workload with and without impersonation, and a machine get a token", async () => {
  assert.equal(await googleScope({ GOOGLE_APPLICATION_CREDENTIALS: google.serviceAccount }), CLOUDKMS);
  for (const options of [{}, { json: true }, { impersonate: true }])
    assert.equal(await googleScope({ GOOGLE_APPLICATION_CREDENTIALS: google.externalAccount(options) }), CLOUDKMS);
  assert.equal(await googleScope({ GCE_METADATA_HOST: google.host }), CLOUDKMS);
});

test("google: credentials that are refused, exposed, of another service or of another kind are told apart", async () => {
  const folder = temporaryFolder();
  const account = JSON.parse(readFileSync(google.serviceAccount, "utf8"));
  const write = (name: string, value: unknown, mode = 0o600) => {
    const path = join(folder, name);
    writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value), { mode });
    return path;
  };
  const exposed = write("exposed", account);
  chmodSync(exposed, 0o644);
  const subject = google.externalAccount();
  const wrong = google.subject.token;
  const external = JSON.parse(readFileSync(subject, "utf8"));
  const code = (path: string) => codeOf(() => googleScope({ GOOGLE_APPLICATION_CREDENTIALS: path }));
  const cases: [string, string][] = [
    [exposed, "KMS_CREDENTIALS_MISSING"],
    [join(folder, "none"), "KMS_CREDENTIALS_MISSING"],
    [write("half", '{"type":"service_account","private_key":"---'), "KMS_CREDENTIALS_MISSING"],
    [write("kind", { type: "gdch_service_account" }), "KMS_CREDENTIALS_MISSING"],
    [write("key", { ...account, private_key: "-----BEGIN\nx" }), "KMS_CREDENTIALS_MISSING"],
    [write("escape", JSON.stringify(account).replace("-----BEGIN", "\\u002d----BEGIN")), "KMS_CREDENTIALS_MISSING"],
    [write("elsewhere", { ...account, token_uri: "https://evil.example/token" }), "KMS_CREDENTIALS_MISSING"],
    [write("alike", { ...account, token_uri: "https://evilgoogleapis.com/token" }), "KMS_CREDENTIALS_MISSING"],
    [write("plain", { ...account, token_uri: "http://oauth2.googleapis.com/token" }), "KMS_CREDENTIALS_MISSING"],
    [write("stranger", { ...account, client_email: "other@x" }), "KMS_CREDENTIALS_REFUSED"],
    [write("sts", { ...external, token_url: "https://sts.evil.example/v1/token" }), "KMS_CREDENTIALS_MISSING"],
    [write("audience", { ...external, audience: "//iam.googleapis.com/x" }), "KMS_CREDENTIALS_REFUSED"],
    [
      write("program", { ...external, credential_source: { executable: { command: "id" } } }),
      "KMS_CREDENTIALS_MISSING",
    ],
  ];
  for (const [path, wanted] of cases) assert.equal(await code(path), wanted, path);
  assert.equal(await codeOf(() => googleScope({ GCE_METADATA_HOST: NOBODY })), "KMS_CREDENTIALS_MISSING");
  assert.equal(await codeOf(() => googleScope({ GCE_METADATA_HOST: "a/b" })), "KMS_CREDENTIALS_MISSING");
  assert.equal(await codeOf(() => googleScope({ GCE_METADATA_HOST: machine.host })), "KMS_CREDENTIALS_REFUSED");
  google.subject.token = "another";
  assert.equal(await code(subject), "KMS_CREDENTIALS_REFUSED");
  google.subject.token = wrong;
});

test("azure: a secret, a certificate, a workload's token and a machine's identity get a token", async () => {
  const own = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT, AZURE_AUTHORITY_HOST: azure.origin };
  assert.equal(await azureResource({ ...own, AZURE_CLIENT_SECRET: azure.secret }), VAULT_RESOURCE);
  const folder = temporaryFolder();
  const [key, pem, token] = ["key", "pem", "token"].map((name) => join(folder, name)) as [string, string, string];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=keeper", "-keyout", key, "-out", pem];
  execFileSync("openssl", request, { stdio: "pipe" });
  azure.certificate = readFileSync(pem, "utf8");
  writeFileSync(pem, readFileSync(key, "utf8") + azure.certificate);
  chmodSync(pem, 0o600);
  assert.equal(await azureResource({ ...own, AZURE_CLIENT_CERTIFICATE_PATH: pem }), VAULT_RESOURCE);
  writeFileSync(token, `${azure.federated.token}\n`, { mode: 0o644 });
  assert.equal(await azureResource({ ...own, AZURE_FEDERATED_TOKEN_FILE: token }), VAULT_RESOURCE);
  const machineEnv = { AZURE_POD_IDENTITY_AUTHORITY_HOST: azure.origin };
  assert.equal(await azureResource(machineEnv), VAULT_RESOURCE);
  assert.equal(await azureResource({ ...machineEnv, AZURE_CLIENT_ID: CLIENT }), VAULT_RESOURCE);
  const cases: [Env, string][] = [
    [{ ...own, AZURE_CLIENT_SECRET: "wrong" }, "KMS_CREDENTIALS_REFUSED"],
    [{ AZURE_CLIENT_SECRET: "x" }, "KMS_CREDENTIALS_MISSING"],
    [{ ...own, AZURE_CLIENT_SECRET: "x", AZURE_AUTHORITY_HOST: "http://login.example/" }, "KMS_CREDENTIALS_MISSING"],
    [{ ...own, AZURE_CLIENT_SECRET: "x", AZURE_TENANT_ID: "../x" }, "KMS_CREDENTIALS_MISSING"],
    [{ ...own, AZURE_CLIENT_CERTIFICATE_PATH: key }, "KMS_CREDENTIALS_MISSING"],
    [{ ...own, AZURE_FEDERATED_TOKEN_FILE: join(folder, "none") }, "KMS_CREDENTIALS_MISSING"],
    [{ ...machineEnv, AZURE_CLIENT_ID: "another" }, "KMS_CREDENTIALS_MISSING"],
    [{ AZURE_POD_IDENTITY_AUTHORITY_HOST: `http://${NOBODY}` }, "KMS_CREDENTIALS_MISSING"],
  ];
  for (const [env, wanted] of cases) assert.equal(await codeOf(() => azureResource(env)), wanted, inspect(env));
});

async function keysOf(env: Env): Promise<string | undefined> {
  const source = new AwsCredentialSource(
    portsOf({ AWS_SHARED_CREDENTIALS_FILE: join(empty, "none"), ...env }),
    "eu-central-1",
  );
  const { accessKeyId, secretKey, sessionToken } = await source.get();
  using secret = secretKey;
  using token = sessionToken;
  assert.ok(token && token.length > 50);
  return secret.use((bytes) => text(bytes)) === machine.keys.get(accessKeyId) ? accessKeyId : undefined;
}

test("aws: an instance tells its role by IMDSv2 alone, a container's host tells it for a token", async () => {
  assert.match((await keysOf({ AWS_EC2_METADATA_SERVICE_ENDPOINT: machine.origin })) ?? "", /^ASIA/);
  const address = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${machine.origin}/container` };
  const file = join(temporaryFolder(), "token");
  writeFileSync(file, machine.containerToken, { mode: 0o644 });
  assert.match(
    (await keysOf({ ...address, AWS_CONTAINER_AUTHORIZATION_TOKEN: machine.containerToken })) ?? "",
    /^ASIA/,
  );
  assert.match((await keysOf({ ...address, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file })) ?? "", /^ASIA/);
  const cases: [Env, string][] = [
    [{ ...address, AWS_CONTAINER_AUTHORIZATION_TOKEN: "wrong" }, "KMS_CREDENTIALS_REFUSED"],
    [{ AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://evil.example/container" }, "KMS_CREDENTIALS_MISSING"],
    [{ AWS_CONTAINER_CREDENTIALS_FULL_URI: "https://u:p@h/c" }, "KMS_CREDENTIALS_MISSING"],
    [{ AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://${NOBODY}` }, "KMS_CREDENTIALS_MISSING"],
    [{ AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://169.254.1.1.example" }, "KMS_CREDENTIALS_MISSING"],
    [{ AWS_EC2_METADATA_DISABLED: "true" }, "KMS_CREDENTIALS_MISSING"],
    [{ AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: "not an arn" }, "KMS_CREDENTIALS_MISSING"],
  ];
  for (const [env, wanted] of cases) assert.equal(await codeOf(() => keysOf(env)), wanted, inspect(env));
  machine.role = undefined;
  assert.equal(
    await codeOf(() => keysOf({ AWS_EC2_METADATA_SERVICE_ENDPOINT: machine.origin })),
    "KMS_CREDENTIALS_MISSING",
  );
  machine.role = "../../x";
  assert.equal(await codeOf(() => keysOf({ AWS_EC2_METADATA_SERVICE_ENDPOINT: machine.origin })), "KMS_ANSWER_INVALID");
  machine.role = "keeper";
});

test("aws: a role's keys are kept, told in copies, and fetched anew before they end or when they are refused", async () => {
  const clock = turningClock();
  const env = { AWS_SHARED_CREDENTIALS_FILE: join(empty, "none"), AWS_EC2_METADATA_SERVICE_ENDPOINT: machine.origin };
  const source = new AwsCredentialSource(portsOf(env, clock), "eu-central-1");
  const idOf = async () => {
    const { accessKeyId, secretKey, sessionToken } = await source.get();
    assert.equal(secretKey.use(text), machine.keys.get(accessKeyId));
    secretKey.wipe();
    sessionToken?.wipe();
    return accessKeyId;
  };
  const first = await idOf();
  assert.deepEqual(new Set(await Promise.all(Array.from({ length: 20 }, idOf))), new Set([first]));
  clock.turn(3_200);
  assert.equal(await idOf(), first);
  clock.turn(150);
  const second = await idOf();
  assert.notEqual(second, first);
  assert.equal(source.refused(), true);
  assert.notEqual(await idOf(), second);
  const fixed = new AwsCredentialSource(
    portsOf({ ...env, AWS_ACCESS_KEY_ID: "AKIAENV", AWS_SECRET_ACCESS_KEY: "s" }),
    "x",
  );
  assert.equal(fixed.refused(), false, "there is nothing else to try");
});

test("aws: keys in the environment win over a role, and a profile's over that of an instance", async () => {
  const asked = machine.seen.length;
  const file = join(temporaryFolder(), "credentials");
  writeFileSync(file, "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = s\n", { mode: 0o600 });
  const env = { AWS_SHARED_CREDENTIALS_FILE: file, AWS_EC2_METADATA_SERVICE_ENDPOINT: machine.origin };
  const idOf = async (more: Env) => {
    const { accessKeyId, secretKey, sessionToken } = await new AwsCredentialSource(
      portsOf({ ...env, ...more }),
      "x",
    ).get();
    secretKey.wipe();
    sessionToken?.wipe();
    return accessKeyId;
  };
  assert.equal(await idOf({}), "AKIAFILE");
  assert.equal(await idOf({ AWS_ACCESS_KEY_ID: "AKIAENV", AWS_SECRET_ACCESS_KEY: "s" }), "AKIAENV");
  assert.equal(machine.seen.length, asked);
  const address = `${machine.origin}/container`;
  const container = {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: address,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: machine.containerToken,
  };
  assert.match(await idOf(container), /^ASIA/);
  assert.equal(await idOf({ ...container, AWS_PROFILE: "default" }), "AKIAFILE");
});

test("moto: a web identity becomes a role whose keys KMS accepts", async (t) => {
  const endpoint = await startMoto();
  if (!endpoint) return t.skip(NO_MOTO);
  const { KeyId } = (await askMoto(endpoint, "CreateKey", { KeyUsage: "ENCRYPT_DECRYPT" })).KeyMetadata;
  const file = join(temporaryFolder(), "token");
  writeFileSync(file, `eyJ.${randomBytes(30).toString("base64url")}.z\n`, { mode: 0o644 });
  const env = {
    AWS_WEB_IDENTITY_TOKEN_FILE: file,
    AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/keeper",
    AWS_ENDPOINT_URL: endpoint,
  };
  const wrapper = await openKeyWrapper(`awskms://eu-central-1/${KeyId}`, { random, env });
  const key = randomBytes(32);
  assert.deepEqual(Buffer.from(await wrapper.unwrap(await wrapper.wrap(key, {}), {})), key);
});

test("a login is done once for all who wait, and again shortly before it ends", async () => {
  const clock = turningClock();
  const env = { CLOUDSDK_CONFIG: empty, GOOGLE_APPLICATION_CREDENTIALS: google.serviceAccount };
  const tokens = openGoogleTokens(portsOf(env, clock));
  const logins = () => google.seen.filter((line) => line === "POST /token").length;
  const start = logins();
  const first = await Promise.all(Array.from({ length: 20 }, () => tokens.token(CLOUDKMS)));
  assert.deepEqual([new Set(first.map(text)).size, logins() - start], [1, 1]);
  first[0]?.fill(0);
  clock.turn(3_250);
  assert.equal(text(await tokens.token(CLOUDKMS)), text(first[1] as Uint8Array), "a wiped copy is the caller's own");
  assert.equal(logins() - start, 1);
  clock.turn(100);
  assert.notEqual(text(await tokens.token(CLOUDKMS)), text(first[1] as Uint8Array));
  await tokens.token("https://www.googleapis.com/auth/devstorage.read_only");
  assert.equal(logins() - start, 3);
});

test("a renewal that fails leaves what still holds, until it ends", async () => {
  const clock = turningClock();
  const own = await startAzureLogins();
  const file = join(temporaryFolder(), "token");
  writeFileSync(file, own.federated.token, { mode: 0o600 });
  const env = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT, AZURE_AUTHORITY_HOST: own.origin };
  const tokens = openAzureTokens(portsOf({ ...env, AZURE_FEDERATED_TOKEN_FILE: file }, clock));
  const scope = `${VAULT_RESOURCE}/.default`;
  const first = text(await tokens.token(scope));
  own.federated.token = "exchanged";
  clock.turn(3_400);
  assert.equal(text(await tokens.token(scope)), first);
  clock.turn(300);
  assert.equal(await codeOf(() => tokens.token(scope)), "KMS_CREDENTIALS_REFUSED");
  writeFileSync(file, "exchanged");
  assert.notEqual(text(await tokens.token(scope)), first);
});

test("who stops waiting for a login does not end it for the others", async () => {
  const tokens = openGoogleTokens(portsOf({ GCE_METADATA_HOST: google.host }));
  const stop = new AbortController();
  const [gone, stays] = [tokens.token(CLOUDKMS, stop.signal), tokens.token(CLOUDKMS)];
  stop.abort(new Error("enough"));
  await assert.rejects(gone, /enough/);
  assert.ok((await stays).length > 0);
  await assert.rejects(tokens.token(CLOUDKMS, stop.signal), /enough/);
});

test("a token that a service refuses is fetched anew, once", async () => {
  const kms = await startGoogleKms(google.tokens);
  const env = {
    GOOGLE_APPLICATION_CREDENTIALS: google.serviceAccount,
    CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: kms.origin,
  };
  const wrapper = await openKeyWrapper(`gcpkms://${kms.make("revoked")}`, { random, env });
  google.tokens.clear();
  const asked = kms.seen.length;
  await wrapper.wrap(randomBytes(32), {});
  assert.equal(kms.seen.length - asked, 2);
});

test("no secret of a login is in an error", async () => {
  const seen: string[] = [];
  const note = async (work: () => Promise<unknown>) => {
    await work().catch((error) => seen.push(inspect(error, { depth: 20, showHidden: true })));
  };
  const own = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT, AZURE_AUTHORITY_HOST: google.origin };
  await note(() => azureResource({ ...own, AZURE_CLIENT_SECRET: azure.secret }));
  await note(() =>
    keysOf({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${azure.origin}/x`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: machine.containerToken,
    }),
  );
  const odd = google.externalAccount();
  google.subject.token = "changed-meanwhile";
  await note(() => googleScope({ GOOGLE_APPLICATION_CREDENTIALS: odd }));
  assert.equal(seen.length, 3);
  const secrets = [azure.secret, encodeURIComponent(azure.secret), machine.containerToken, "eyJ."];
  for (const words of seen) assert.ok(!secrets.some((secret) => words.includes(secret)), words);
});
