/** Azure Key Vault and Managed HSM, as their counterpart plays them: versions, rights, and a vault that wants another's token. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { before, test } from "node:test";
import fc from "fast-check";
import { readBlob } from "../../src/backends/azure/blob.ts";
import { parseAzureUri } from "../../src/backends/azure/uri.ts";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { jsonWithBase64Url, takeBase64Url } from "../../src/backends/secret-json.ts";
import { utf8 } from "../../src/base/index.ts";
import { openSigner } from "../../src/signing/index.ts";
import { codeOf, random } from "../sealing/support.ts";
import {
  type AzureKeys,
  type AzureLogins,
  startAzureKeys,
  startAzureLogins,
  VAULT_RESOURCE,
} from "./counterparts/azure.ts";

const KEY = randomBytes(32);
const context = { package_id: "p", root_digest: "r" };
let logins: AzureLogins;
let vault: AzureKeys;
before(async () => {
  logins = await startAzureLogins();
  vault = await startAzureKeys(logins.tokens);
});

const ports = () => ({
  random,
  limits: { attempts: 2, backoffMilliseconds: 5 },
  env: { AZURE_POD_IDENTITY_AUTHORITY_HOST: logins.origin },
});
const uriOf = (name: string) => `azurekms://${vault.host}/${name}?insecure-http=1`;
const open = (name: string) => openKeyWrapper(uriOf(name), ports());

test("a new version wraps, the old one still opens, until it is disabled or the key is deleted", async () => {
  const one = vault.make("turning", "RSA");
  const wrapper = await open("turning");
  const first = await wrapper.wrap(KEY, context);
  const two = vault.make("turning", "RSA");
  const second = await wrapper.wrap(KEY, context);
  assert.deepEqual([first.keyVersion, second.keyVersion], [one, two]);
  for (const wrapped of [first, second]) assert.deepEqual(Buffer.from(await wrapper.unwrap(wrapped, context)), KEY);
  const crossed = { ...first, keyVersion: two };
  assert.equal(await codeOf(() => wrapper.unwrap(crossed, context)), "UNWRAP_FAILED");
  const pinned = await openKeyWrapper(uriOf(`turning/${one}`), ports());
  assert.equal((await pinned.wrap(KEY, context)).keyVersion, one);
  vault.setEnabled("turning", one, false);
  assert.equal(await codeOf(() => wrapper.unwrap(first, context)), "KMS_KEY_DISABLED");
  assert.equal(await codeOf(() => pinned.wrap(KEY, context)), "KMS_KEY_DISABLED");
  vault.setEnabled("turning", two, false);
  vault.setEnabled("turning", one, true);
  const later = await open("turning");
  assert.equal(await codeOf(() => later.wrap(KEY, context)), "KMS_KEY_DISABLED");
  assert.deepEqual(Buffer.from(await later.unwrap(first, context)), KEY, "an older version opens meanwhile");
  vault.remove("turning");
  assert.equal(await codeOf(() => wrapper.unwrap(first, context)), "KMS_KEY_NOT_FOUND");
});

test("a key made for something else is unfit, and a right that is missing is denied", async () => {
  vault.make("signs-not", "P-256", ["verify"]);
  vault.make("wraps-not", "RSA", ["sign", "verify"]);
  vault.make("opens-not", "RSA", ["wrapKey"]);
  assert.equal(await codeOf(() => open("wraps-not")), "KMS_KEY_UNFIT");
  assert.equal(await codeOf(() => openSigner(uriOf("signs-not"), { ...ports(), cwd: "/" })), "KMS_KEY_UNFIT");
  const half = await open("opens-not");
  const wrapped = await half.wrap(KEY, context);
  assert.equal(await codeOf(() => half.unwrap(wrapped, context)), "KMS_KEY_UNFIT");
  const refusals: [number, unknown, string][] = [
    [403, { error: { code: "Forbidden", message: "x", innererror: { code: "ForbiddenByPolicy" } } }, "KMS_DENIED"],
    [403, { error: { code: "Forbidden", message: "x", innererror: { code: "ForbiddenByFirewall" } } }, "KMS_DENIED"],
    [403, { error: { code: "Forbidden", message: "x", innererror: { code: "KeyExpired" } } }, "KMS_KEY_DISABLED"],
    [409, { error: { code: "Conflict", innererror: { code: "ObjectIsDeletedButRecoverable" } } }, "KMS_KEY_DISABLED"],
    [429, { error: { code: "Throttled", message: null } }, "KMS_THROTTLED"],
    [500, { error: { code: "InternalServerError" } }, "KMS_UNREACHABLE"],
  ];
  for (const [status, body, code] of refusals) {
    vault.instead = { status, body };
    assert.equal(await codeOf(() => half.unwrap(wrapped, context)), code);
  }
  vault.instead = undefined;
});

test("a vault that wants a token for somebody else gets none, and it is told", async () => {
  vault.make("lure", "RSA");
  const wrapper = await open("lure");
  const wrapped = await wrapper.wrap(KEY, context);
  logins.tokens.clear();
  const asked = logins.seen.length;
  for (const resource of ["https://management.azure.com", "https://vault.azure.net.evil.example", "not a URL"]) {
    vault.challenge = resource;
    assert.equal(await codeOf(() => wrapper.unwrap(wrapped, context)), "KMS_CREDENTIALS_REFUSED", resource);
  }
  assert.equal(logins.seen.length, asked, "no token was asked for");
  vault.challenge = VAULT_RESOURCE;
  assert.deepEqual(Buffer.from(await wrapper.unwrap(wrapped, context)), KEY);
  assert.ok([...logins.tokens.values()].every((resource) => resource === VAULT_RESOURCE));
});

test("an answer about another key, a cut one and a padded one are found", async () => {
  vault.make("answers", "oct-HSM");
  const wrapper = await open("answers");
  const wrapped = await wrapper.wrap(KEY, context);
  const changes: [string, (body: Record<string, unknown>) => void, string][] = [
    [
      "kid",
      (body) => Object.assign(body, { kid: String(body.kid).replace("answers", "another") }),
      "KMS_ANSWER_INVALID",
    ],
    ["version", (body) => Object.assign(body, { kid: String(body.kid).slice(0, -1) }), "KMS_ANSWER_INVALID"],
    [
      "host",
      (body) => Object.assign(body, { kid: String(body.kid).replace("127.0.0.1", "evil") }),
      "KMS_ANSWER_INVALID",
    ],
    ["value", (body) => Object.assign(body, { value: `${body.value}=` }), "KMS_ANSWER_INVALID"],
    ["length", (body) => Object.assign(body, { value: "AAAA" }), "UNWRAP_FAILED"],
    ["another", (body) => Object.assign(body, { value: randomBytes(32).toString("base64url") }), "UNWRAP_FAILED"],
  ];
  for (const [what, change, code] of changes) {
    vault.alter = change;
    assert.equal(await codeOf(() => wrapper.unwrap(wrapped, context)), code, what);
  }
  vault.alter = (body) =>
    typeof body.value === "string" ? Object.assign(body, { value: KEY.toString("base64url") }) : body;
  assert.equal(await codeOf(() => wrapper.wrap(KEY, context)), "KMS_ANSWER_INVALID", "a wrap as short as the key");
  vault.alter = undefined;
});

test("the host alone says whom a token is for, and it is a vault of Azure", async () => {
  const resources: Record<string, string> = {
    "my-vault.vault.azure.net": "https://vault.azure.net",
    "my-hsm.managedhsm.azure.net": "https://managedhsm.azure.net",
    "v-1.vault.azure.cn": "https://vault.azure.cn",
    "v-1.managedhsm.usgovcloudapi.net": "https://managedhsm.usgovcloudapi.net",
  };
  for (const [host, resource] of Object.entries(resources)) {
    const parsed = parseAzureUri(`azurekms://${host}/key-1/${"a".repeat(32)}`);
    assert.deepEqual([parsed.resource, parsed.origin, parsed.name], [resource, `https://${host}`, "key-1"]);
  }
  for (const uri of [
    "azurekms://",
    "azurekms://vault.azure.net/k",
    "azurekms://my-vault.vault.azure.net/",
    "azurekms://my-vault.vault.azure.net/k/1",
    "azurekms://my-vault.vault.azure.net:8443/k",
    "azurekms://my-vault.vault.azure.net.evil.example/k",
    "azurekms://evil-vault.azure.net/k",
    "azurekms://a.b.vault.azure.net/k",
    "azurekms://u:p@my-vault.vault.azure.net/k",
    "azurekms://my-vault.vault.azure.net/k?insecure-http=1",
    "azurekms://my-vault.vault.azure.net/k_1",
    "azurekms://127.0.0.1:1/k?insecure-http=2",
    `azurekms://my-vault.vault.azure.net/${"k".repeat(200)}`,
  ])
    assert.equal(await codeOf(async () => parseAzureUri(uri)), "KMS_URI_UNKNOWN", uri);
});

test("any bytes are a blob or none, and base64url carries a secret both ways", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const blob = readBlob(bytes);
      if (!blob) return;
      assert.equal(3 + blob.wrappedKek.length + blob.sealed.length, bytes.length);
      assert.ok(blob.sealed.length > 28 && blob.wrappedKek.length > 0);
    }),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (secret) => {
      const text = jsonWithBase64Url("value", secret, { alg: "x" });
      assert.deepEqual(JSON.parse(Buffer.from(text).toString()), {
        value: Buffer.from(secret).toString("base64url"),
        alg: "x",
      });
      assert.deepEqual(takeBase64Url(text, "value").secret, secret);
    }),
  );
  for (const value of ["A", "AB", "AA==", "A+", "A/", "AAAAA", "*"])
    assert.throws(() => takeBase64Url(utf8(`{"value":"${value}"}`), "value"), { code: "KMS_ANSWER_INVALID" }, value);
});
