/** The drivers of AWS against moto, of Google and Azure against counterparts of their API references. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { before, test } from "node:test";
import { bedrockKey } from "../../src/backends/aws/bedrock.ts";
import { utf8 } from "../../src/base/index.ts";
import { GuardedBytes } from "../../src/host/index.ts";
import type { SecretDriver } from "../../src/secrets/index.ts";
import { motoPython } from "../../tools/peers/places.ts";
import { CLIENT, startAzureLogins, TENANT } from "../backends/counterparts/azure.ts";
import { startAzureSecrets } from "../backends/counterparts/azure-secrets.ts";
import { startGoogleLogins } from "../backends/counterparts/google.ts";
import { startGoogleSecrets } from "../backends/counterparts/google-secrets.ts";
import { NO_MOTO, startMoto, type VaultBody } from "../backends/peers.ts";
import { codeOf } from "../sealing/support.ts";
import { testDriver } from "./driver-contract.ts";
import { openDriver } from "./support.ts";

const REGION = "eu-central-1";
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");
const newValue = () => `sk-${randomBytes(12).toString("hex")}`;

const open = openDriver;

async function valueAt(driver: SecretDriver, reference: string): Promise<string> {
  using key = (await driver.read(reference, { ttlSeconds: 60 })).key;
  return key.use(text);
}

const failing = (driver: SecretDriver, reference: string) => codeOf(() => driver.read(reference, { ttlSeconds: 60 }));

let moto: string | undefined;
before(async () => {
  moto = await startMoto();
});

async function askMoto(service: string, target: string, body: unknown): Promise<VaultBody> {
  const answer = await fetch(moto ?? "", {
    method: "POST",
    headers: {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": `${service}.${target}`,
      authorization: `AWS4-HMAC-SHA256 Credential=admin/20260101/${REGION}/${service}/aws4_request, SignedHeaders=host, Signature=00`,
    },
    body: JSON.stringify(body),
  });
  assert.equal(answer.status, 200, target);
  return answer.json();
}

const aws = (target: string, body: unknown) => askMoto("secretsmanager", target, body);
const keys = { AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI/K7MDENG" };
const openAws = (uri = `awssm://${REGION}`) => open(uri, { ...keys, AWS_ENDPOINT_URL: moto ?? "" });

testDriver(
  "AWS Secrets Manager",
  async () => {
    const name = `contract-${randomBytes(4).toString("hex")}`;
    await aws("CreateSecret", { Name: name, SecretString: "sk-contract" });
    const change = async () => void (await aws("PutSecretValue", { SecretId: name, SecretString: newValue() }));
    const driver = await openAws();
    return { driver, reference: name, value: utf8("sk-contract"), absent: "nothing", invalid: "a b", change };
  },
  () => (moto ? undefined : NO_MOTO),
);

test("AWS Secrets Manager: versions, stages, fields, binary values, deletion", async (t) => {
  if (!moto) return t.skip(NO_MOTO);
  const driver = await openAws();
  const first = await aws("CreateSecret", {
    Name: "app/db",
    SecretString: JSON.stringify({ password: 'a"b\u00e9', port: 1 }),
  });
  assert.equal(await valueAt(driver, "app/db#password"), 'a"b\u00e9');
  await aws("PutSecretValue", { SecretId: "app/db", SecretString: '{"password":"second"}' });
  await aws("PutSecretValue", { SecretId: "app/db", SecretString: "pending", VersionStages: ["AWSPENDING"] });
  assert.equal(await valueAt(driver, "app/db#password"), "second");
  assert.equal(await valueAt(driver, "app/db?stage=AWSPREVIOUS#password"), 'a"b\u00e9');
  assert.equal(await valueAt(driver, "app/db?stage=AWSPENDING"), "pending");
  assert.equal(await valueAt(driver, `app/db?version=${first.VersionId}#port`), "1");
  assert.equal(await valueAt(driver, `${first.ARN}#password`), "second");
  assert.equal(await failing(driver, "app/db?stage=AWSPENDING#password"), "KEEPER_ANSWER_INVALID", "it is not JSON");
  for (const gone of ["app/db#nothing", "app/db?stage=NOSUCH", "app/nothing"])
    assert.equal(await failing(driver, gone), "SECRET_NOT_FOUND", gone);
  const bytes = Buffer.from([0, 255, 10, 13, 34]);
  await aws("CreateSecret", { Name: "binary", SecretBinary: bytes.toString("base64") });
  using key = (await driver.read("binary", { ttlSeconds: 60 })).key;
  assert.deepEqual(
    key.use((value) => Buffer.from(value)),
    bytes,
  );
  await aws("CreateSecret", { Name: "long", SecretString: "x".repeat(16_385) });
  assert.equal(await failing(driver, "long"), "SECRET_VALUE_INVALID");
  await aws("DeleteSecret", { SecretId: "binary" });
  assert.equal(await failing(driver, "binary"), "KEEPER_DISABLED");
});

const ROLE = "arn:aws:iam::123456789012:role/models/caller";
const lentKeys: string[] = [];

testDriver(
  "AWS STS",
  async () => {
    lentKeys.length = 0;
    const inner = await openAws(`awssts://${REGION}`);
    const read: SecretDriver["read"] = async (reference, wanted) => {
      const found = await inner.read(reference, wanted);
      lentKeys.push(found.lease?.id ?? "");
      return found;
    };
    const openLeases = async () => lentKeys;
    return {
      driver: { ...inner, read },
      reference: ROLE,
      invalid: "role",
      openLeases,
      endsByItself: true,
    };
  },
  () => (moto ? undefined : NO_MOTO),
);

test("AWS STS: keys as credential_process gives them, or a bearer key of Bedrock, for their time", async (t) => {
  if (!moto) return t.skip(NO_MOTO);
  const driver = await openAws(`awssts://${REGION}`);
  const policy = encodeURIComponent('{"Version":"2012-10-17","Statement":[]}');
  const { key, lease } = await driver.read(`${ROLE}?policy=${policy}&session=mk`, { ttlSeconds: 60 });
  const given = JSON.parse(key.use(text));
  assert.deepEqual(Object.keys(given).sort(), [
    "AccessKeyId",
    "Expiration",
    "SecretAccessKey",
    "SessionToken",
    "Version",
  ]);
  assert.ok(lease && lease.ttlSeconds > 800 && lease.ttlSeconds <= 900 && !lease.renewable);
  const who = await fetch(moto, {
    method: "POST",
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      authorization: `AWS4-HMAC-SHA256 Credential=${given.AccessKeyId}/20260101/${REGION}/sts/aws4_request, SignedHeaders=host, Signature=00`,
    },
    body: "Action=GetCallerIdentity&Version=2011-06-15",
  });
  assert.match(await who.text(), /assumed-role\/caller\/mk/);
  const bearer = await valueAt(driver, `${ROLE}?format=bedrock`);
  const url = Buffer.from(bearer.replace("bedrock-api-key-", ""), "base64").toString();
  assert.match(
    url,
    /^bedrock\.amazonaws\.com\/\?Action=CallWithBearerToken&.*&X-Amz-Signature=[0-9a-f]{64}&Version=1$/,
  );
  for (const odd of [`${ROLE}?format=x`, `${ROLE}?policy=1`, `${ROLE}?other=1`, `${ROLE}#a`, "arn:aws:iam::1:user/a"])
    assert.throws(() => driver.check?.(odd), { code: "SECRET_REFERENCE_INVALID" }, odd);
});

test("a bearer key of Bedrock is the one that botocore signs", (t) => {
  if (!moto) return t.skip(NO_MOTO);
  const [id, secret, session] = ["ASIAEXAMPLE", "sec/ret+key", "token+/=="];
  const now = Date.parse("2026-11-20T10:11:12Z");
  const secretKey = GuardedBytes.take(utf8(secret));
  const mine = bedrockKey(
    { accessKeyId: id, secretKey, sessionToken: utf8(session) },
    { region: REGION, lifeSeconds: 900, now },
  );
  const script = `
import base64, datetime, sys
import botocore.auth, botocore.compat
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
at = datetime.datetime(2026, 11, 20, 10, 11, 12)
for module in (botocore.auth, botocore.compat):
    if hasattr(module, "get_current_datetime"):
        module.get_current_datetime = lambda *a, **k: at
request = AWSRequest(method="POST", url="https://bedrock.amazonaws.com/", headers={"host": "bedrock.amazonaws.com"}, params={"Action": "CallWithBearerToken"})
botocore.auth.SigV4QueryAuth(Credentials(sys.argv[1], sys.argv[2], sys.argv[3]), "bedrock", sys.argv[4], expires=900).add_auth(request)
print(request.url.replace("https://", "") + "&Version=1")`;
  const theirs = execFileSync(motoPython(), ["-c", script, id, secret, session, REGION], { encoding: "utf8" }).trim();
  const url = Buffer.from(text(mine).replace("bedrock-api-key-", ""), "base64").toString();
  const sorted = (one: string) => [one.split("?")[0], ...(one.split("?")[1] ?? "").split("&").sort()];
  assert.deepEqual(sorted(url), sorted(theirs));
});

async function google() {
  const logins = await startGoogleLogins();
  const manager = await startGoogleSecrets(logins.tokens);
  const env = {
    GOOGLE_APPLICATION_CREDENTIALS: logins.serviceAccount,
    CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER: `${manager.origin}/`,
  };
  return { manager, logins, driver: await open("gcpsm://projects/project", env) };
}

testDriver("Google Secret Manager", async () => {
  const { manager, driver } = await google();
  manager.add("key", utf8("sk-contract"));
  const change = async () => void manager.add("key", utf8(newValue()));
  return { driver, reference: "key", value: utf8("sk-contract"), absent: "nothing", invalid: "a/b", change };
});

test("Google Secret Manager: versions and their states, permissions, tokens that are refused, checksums", async () => {
  const { manager, logins, driver } = await google();
  manager.add("key", utf8("one"));
  manager.add("key", Uint8Array.of(0, 255, 34));
  assert.equal(await valueAt(driver, "key?version=1"), "one");
  using key = (await driver.read("key", { ttlSeconds: 60 })).key;
  assert.deepEqual(
    key.use((value) => [...value]),
    [0, 255, 34],
  );
  manager.setState("key", 1, "DISABLED");
  assert.equal(await failing(driver, "key?version=1"), "KEEPER_DISABLED");
  assert.equal(await failing(driver, "key?version=9"), "SECRET_NOT_FOUND");
  manager.closed.add("key");
  assert.equal(await failing(driver, "key"), "KEEPER_DENIED");
  manager.closed.clear();
  logins.tokens.clear();
  assert.equal(
    await valueAt(driver, "key?version=2").then((value) => value.length > 0),
    true,
    "another token is fetched",
  );
  manager.alter = (body) => {
    body.payload.data = Buffer.from("other").toString("base64");
  };
  assert.equal(await failing(driver, "key"), "KEEPER_ANSWER_INVALID");
  manager.alter = (body) => {
    body.payload = { data: body.payload.data };
  };
  assert.equal(await failing(driver, "key"), "KEEPER_ANSWER_INVALID");
});

async function azure() {
  const logins = await startAzureLogins();
  const vault = await startAzureSecrets(logins.tokens);
  const env = {
    AZURE_TENANT_ID: TENANT,
    AZURE_CLIENT_ID: CLIENT,
    AZURE_CLIENT_SECRET: logins.secret,
    AZURE_AUTHORITY_HOST: `${logins.origin}/`,
  };
  return { vault, logins, driver: await open(`azurekv://${vault.host}?insecure-http=1`, env) };
}

testDriver("Azure Key Vault", async () => {
  const { vault, driver } = await azure();
  vault.add("key", "sk-contract");
  const change = async () => void vault.add("key", newValue());
  return { driver, reference: "key", value: utf8("sk-contract"), absent: "nothing", invalid: "a/b", change };
});

test("Azure Key Vault: versions, disabled ones, permissions, tokens, and a host that is after another token", async () => {
  const { vault, logins, driver } = await azure();
  const first = vault.add("key", 'o"\\n\u00e9');
  vault.add("key", "two");
  assert.equal(await valueAt(driver, `key?version=${first}`), 'o"\\n\u00e9');
  assert.equal(await valueAt(driver, "key"), "two");
  vault.setEnabled("key", first, false);
  assert.equal(await failing(driver, `key?version=${first}`), "KEEPER_DISABLED");
  assert.equal(await failing(driver, `key?version=${"0".repeat(32)}`), "SECRET_NOT_FOUND");
  vault.closed.add("key");
  assert.equal(await failing(driver, "key"), "KEEPER_DENIED");
  vault.closed.clear();
  logins.tokens.clear();
  assert.equal(await valueAt(driver, "key"), "two", "another token is fetched");
  vault.instead = { status: 200, body: { value: "x", id: `https://${vault.host}/secrets/other/1` } };
  assert.equal(await failing(driver, "key"), "KEEPER_ANSWER_INVALID");
  vault.instead = undefined;
  logins.tokens.clear();
  vault.challenge = "https://graph.microsoft.com";
  assert.equal(await failing(driver, "key"), "KEEPER_LOGIN_REFUSED");
});
