/** AWS KMS: signatures as the vendor's own library makes them, and moto with its access control switched on. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { signRequest } from "../../src/backends/aws/sigv4.ts";
import { openKeyWrapper, openSigningKey } from "../../src/backends/index.ts";
import { utf8 } from "../../src/base/index.ts";
import { GuardedBytes } from "../../src/host/index.ts";
import { motoPython } from "../../tools/peers/places.ts";
import { codeOf, random, temporaryFolder } from "../sealing/support.ts";
import { askMoto, NO_MOTO, startMoto } from "./peers.ts";

const KEY = new Uint8Array(32).fill(7);
const context = { package_id: "p", root_digest: "r" };
const SYMMETRIC = { KeySpec: "SYMMETRIC_DEFAULT", KeyUsage: "ENCRYPT_DECRYPT" };
const now = Date.UTC(2015, 7, 30, 12, 36, 0);

/** One way to write a request down, for both sides. */
interface Example {
  readonly secret: string;
  readonly region: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

const BOTOCORE = `
import sys, json, datetime
import botocore.auth, botocore.awsrequest, botocore.compat, botocore.credentials
class Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2015, 8, 30, 12, 36, 0, tzinfo=tz)
    @classmethod
    def utcnow(cls):
        return cls(2015, 8, 30, 12, 36, 0)
botocore.auth.datetime = datetime
for name in ("get_current_datetime",):
    if hasattr(botocore.auth, name):
        setattr(botocore.auth, name, lambda remove_tzinfo=True: datetime.datetime(2015, 8, 30, 12, 36, 0))
if not hasattr(botocore.auth, "get_current_datetime"):
    datetime.datetime = Fixed
out = []
for e in json.load(sys.stdin):
    url = "https://" + e["headers"]["host"] + "/"
    r = botocore.awsrequest.AWSRequest("POST", url, headers=e["headers"], data=e["body"].encode())
    c = botocore.credentials.Credentials("AKIDEXAMPLE", e["secret"])
    botocore.auth.SigV4Auth(c, "kms", e["region"]).add_auth(r)
    out.append([r.headers["X-Amz-Date"], r.headers["Authorization"]])
print(json.dumps(out))
`;

test("requests are signed as botocore signs them", (t) => {
  const python = motoPython();
  if (!existsSync(python)) return t.skip(NO_MOTO);
  const examples: Example[] = ["", "{}", '{"KeyId":"ä","Plaintext":"AA=="}', "x".repeat(5_000)].flatMap((body, index) =>
    ["us-east-1", "eu-central-1"].map((region) => ({
      secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".slice(index),
      region,
      headers: {
        host: `kms.${region}.amazonaws.com`,
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "TrentService.Encrypt",
        "x-amz-security-token": "a  token   with spaces ",
      },
      body,
    })),
  );
  const theirs = JSON.parse(
    execFileSync(python, ["-c", BOTOCORE], { input: JSON.stringify(examples), encoding: "utf8" }),
  );
  const ours = examples.map(({ secret, region, headers, body }) => {
    using secretKey = GuardedBytes.take(utf8(secret));
    const request = { method: "POST", path: "/", headers, body: utf8(body), region, service: "kms", now };
    const signed = signRequest(request, { accessKeyId: "AKIDEXAMPLE", secretKey });
    return [signed["x-amz-date"], signed.authorization];
  });
  assert.deepEqual(ours, theirs);
});

test("the vendor's example get-vanilla", () => {
  using secretKey = GuardedBytes.take(utf8("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"));
  const request = { method: "GET", path: "/", headers: { host: "example.amazonaws.com" }, body: utf8("") };
  const place = { region: "us-east-1", service: "service", now };
  const { authorization } = signRequest({ ...request, ...place }, { accessKeyId: "AKIDEXAMPLE", secretKey });
  assert.match(authorization ?? "", /Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31$/);
});

test("moto: disabled, deleted, in another region; another user's rights and a wrong secret", async (t) => {
  const endpoint = await startMoto();
  if (!endpoint) return t.skip(NO_MOTO);
  const open = (uri: string, env: Record<string, string> = {}) =>
    openKeyWrapper(uri, {
      random,
      env: { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_ENDPOINT_URL: endpoint, ...env },
    });
  const create = async (region: string) => (await askMoto(endpoint, "CreateKey", SYMMETRIC, region)).KeyMetadata;
  const { KeyId, Arn } = await create("eu-central-1");
  const uri = `awskms://eu-central-1/${KeyId}`;
  const wrapper = await open(uri);
  const wrapped = await wrapper.wrap(KEY, context);
  assert.equal(wrapped.keyId, Arn);
  assert.equal(await codeOf(() => open(`awskms://us-east-1/${KeyId}`)), "KMS_KEY_NOT_FOUND");
  assert.equal(await codeOf(() => open(`awskms://us-east-1/${Arn}`)), "KMS_URI_UNKNOWN");
  await askMoto(endpoint, "DisableKey", { KeyId });
  assert.equal(await codeOf(() => open(uri)), "KMS_KEY_DISABLED");
  await askMoto(endpoint, "EnableKey", { KeyId });
  assert.deepEqual(await (await open(uri)).unwrap(wrapped, context), KEY);
  await askMoto(endpoint, "ScheduleKeyDeletion", { KeyId, PendingWindowInDays: 7 });
  assert.equal(await codeOf(() => open(uri)), "KMS_KEY_DISABLED");
  await askMoto(endpoint, "CancelKeyDeletion", { KeyId });
  await askMoto(endpoint, "EnableKey", { KeyId });
  const iam = await userOf(endpoint, "keeper", true);
  const poor = await userOf(endpoint, "poor", false);
  await fetch(`${endpoint}/moto-api/reset-auth`, { method: "POST", body: "0" });
  assert.deepEqual(await (await open(uri, iam)).unwrap(wrapped, context), KEY);
  assert.equal(await codeOf(() => open(uri, poor)), "KMS_DENIED");
  const wrong = { ...iam, AWS_SECRET_ACCESS_KEY: "not-the-secret" };
  assert.equal(await codeOf(() => open(uri, wrong)), "KMS_CREDENTIALS_REFUSED");
  assert.equal(await codeOf(() => open(uri)), "KMS_CREDENTIALS_REFUSED");
  const file = join(temporaryFolder(), "credentials");
  const profile = (name: string, env: Record<string, string>) =>
    `[${name}]\naws_access_key_id = ${env.AWS_ACCESS_KEY_ID}\naws_secret_access_key=${env.AWS_SECRET_ACCESS_KEY}\r\n`;
  writeFileSync(file, `# mine\n${profile("default", poor)}\n${profile("keeper", iam)}`, { mode: 0o600 });
  const byFile = { AWS_ACCESS_KEY_ID: "", AWS_SHARED_CREDENTIALS_FILE: file };
  assert.equal(await codeOf(() => open(uri, byFile)), "KMS_DENIED");
  assert.deepEqual(await (await open(uri, { ...byFile, AWS_PROFILE: "keeper" })).unwrap(wrapped, context), KEY);
  assert.equal(await codeOf(() => open(uri, { ...byFile, AWS_PROFILE: "none" })), "KMS_CREDENTIALS_MISSING");
});

/** A user of moto's IAM with an access key, who may use KMS or nothing. */
async function userOf(endpoint: string, name: string, mayUse: boolean): Promise<Record<string, string>> {
  const iam = async (parameters: Record<string, string>) => {
    const answer = await fetch(endpoint, {
      method: "POST",
      headers: {
        authorization:
          "AWS4-HMAC-SHA256 Credential=admin/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=00",
      },
      body: new URLSearchParams({ Version: "2010-05-08", UserName: name, ...parameters }),
    });
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    return text;
  };
  await iam({ Action: "CreateUser" });
  const PolicyDocument = JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: mayUse ? "Allow" : "Deny", Action: "kms:*", Resource: "*" }],
  });
  await iam({ Action: "PutUserPolicy", PolicyName: "keys", PolicyDocument });
  const text = await iam({ Action: "CreateAccessKey" });
  const field = (tag: string) => new RegExp(`<${tag}>([^<]+)`).exec(text)?.[1] ?? "";
  return { AWS_ACCESS_KEY_ID: field("AccessKeyId"), AWS_SECRET_ACCESS_KEY: field("SecretAccessKey") };
}

test("URIs and endpoints that could send a secret elsewhere are refused", async () => {
  const env = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "x" };
  for (const uri of [
    "awskms://eu-central-1/",
    "awskms:///key",
    "awskms://evil.example/key",
    "awskms://eu-central-1@evil/key",
    "awskms://eu-central-1/alias/",
    "awskms://eu-central-1/key?x=1",
    "awskms://eu-central-1/a/../b",
    `awskms://eu-central-1/${"x".repeat(3_000)}`,
  ])
    assert.equal(await codeOf(() => openSigningKey(uri, { random, env })), "KMS_URI_UNKNOWN", uri);
  for (const AWS_ENDPOINT_URL of ["http://kms.example", "ftp://127.0.0.1", "https://u:p@h", "https://h/path", "x"])
    assert.equal(
      await codeOf(() => openSigningKey("awskms://eu-central-1/k", { random, env: { ...env, AWS_ENDPOINT_URL } })),
      "KMS_URI_UNKNOWN",
      AWS_ENDPOINT_URL,
    );
});
