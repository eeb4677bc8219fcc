/** Google Cloud KMS, as its counterpart plays it: versions and their states, rights, places, and bytes that change on their way. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { before, test } from "node:test";
import fc from "fast-check";
import { crc32c } from "../../src/backends/google/crc32c.ts";
import { openKeyWrapper, openSigningKey } from "../../src/backends/index.ts";
import { utf8 } from "../../src/base/index.ts";
import { openSigner } from "../../src/signing/index.ts";
import { codeOf, random } from "../sealing/support.ts";
import { crcOf, type GoogleKms, type GoogleLogins, startGoogleKms, startGoogleLogins } from "./counterparts/google.ts";

const KEY = randomBytes(32);
const context = { package_id: "p", root_digest: "r" };
let logins: GoogleLogins;
let kms: GoogleKms;
before(async () => {
  logins = await startGoogleLogins();
  kms = await startGoogleKms(logins.tokens);
});

const ports = () => ({
  random,
  limits: { attempts: 2, backoffMilliseconds: 5 },
  env: { GOOGLE_APPLICATION_CREDENTIALS: logins.serviceAccount, CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: kms.origin },
});
const open = (name: string) => openKeyWrapper(`gcpkms://${name}`, ports());

test("the checksum is that of RFC 3720, and of somebody else's program", () => {
  assert.equal(crc32c(utf8("123456789")), String(0xe3069283));
  assert.equal(crc32c(new Uint8Array(32)), String(0x8a9136aa));
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), String(0x62a8ab43));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => crc32c(bytes) === crcOf(bytes)));
});

test("a rotated key opens what it wrapped before, until that version is disabled or destroyed", async () => {
  const name = kms.make("rotated");
  const wrapper = await open(name);
  const first = await wrapper.wrap(KEY, context);
  kms.rotate(name);
  const second = await wrapper.wrap(KEY, context);
  assert.deepEqual([first.keyVersion, second.keyVersion, first.keyId], ["1", "2", name]);
  const pinned = await open(`${name}/cryptoKeyVersions/1`);
  assert.equal((await pinned.wrap(KEY, context)).keyVersion, "1");
  for (const wrapped of [first, second]) assert.deepEqual(Buffer.from(await pinned.unwrap(wrapped, context)), KEY);
  for (const state of ["DISABLED", "DESTROY_SCHEDULED", "DESTROYED"] as const) {
    kms.setState(name, 1, state);
    assert.equal(await codeOf(() => wrapper.unwrap(first, context)), "KMS_KEY_DISABLED", state);
    assert.equal(await codeOf(() => pinned.wrap(KEY, context)), "KMS_KEY_DISABLED", state);
    assert.deepEqual(Buffer.from(await wrapper.unwrap(second, context)), KEY);
  }
  kms.setState(name, 1, "ENABLED");
  assert.deepEqual(Buffer.from(await wrapper.unwrap(first, context)), KEY);
  kms.remove(name);
  assert.equal(await codeOf(() => wrapper.unwrap(first, context)), "KMS_KEY_NOT_FOUND");
});

test("who may use a key without looking at it wraps and unwraps", async () => {
  const name = kms.make("blind");
  await (await open(name)).wrap(KEY, context);
  for (const token of logins.tokens.keys()) kms.blind.add(token);
  const wrapper = await openKeyWrapper(`gcpkms://${name}`, ports());
  assert.deepEqual(Buffer.from(await wrapper.unwrap(await wrapper.wrap(KEY, context), context)), KEY);
});

test("a key of another place is told to be missing, and a token without the scope is refused", async () => {
  const name = kms.make("here");
  for (const [from, to] of [
    ["europe-west3", "us-east1"],
    ["projects/project", "projects/another"],
    ["keyRings/ring", "keyRings/other"],
  ] as const)
    assert.equal(await codeOf(() => open(name.replace(from, to))), "KMS_KEY_NOT_FOUND");
  const other = await startGoogleKms(new Map());
  const env = { ...ports().env, CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: other.origin };
  assert.equal(await codeOf(() => openKeyWrapper(`gcpkms://${name}`, { random, env })), "KMS_CREDENTIALS_REFUSED");
});

test("bytes that change on their way are found, in each field and both ways", async () => {
  const name = kms.make("way");
  const wrapper = await open(name);
  const wrapped = await wrapper.wrap(KEY, context);
  const flip = (text: unknown) => {
    const bytes = Buffer.from(String(text), "base64");
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    return bytes.toString("base64");
  };
  const wraps: [string, (body: Record<string, unknown>) => void][] = [
    ["ciphertext", (body) => Object.assign(body, { ciphertext: flip(body.ciphertext) })],
    ["its checksum", (body) => Object.assign(body, { ciphertextCrc32c: "1" })],
    ["no checksum", (body) => delete body.ciphertextCrc32c],
    ["plaintext not checked", (body) => Object.assign(body, { verifiedPlaintextCrc32c: false })],
    ["context not checked", (body) => delete body.verifiedAdditionalAuthenticatedDataCrc32c],
    ["another key", (body) => Object.assign(body, { name: `${name}x/cryptoKeyVersions/1` })],
    ["no version", (body) => Object.assign(body, { name: `${name}/cryptoKeyVersions/0` })],
    ["no base64", (body) => Object.assign(body, { ciphertext: "*" })],
  ];
  for (const [what, change] of wraps) {
    kms.alter = change;
    assert.equal(await codeOf(() => wrapper.wrap(KEY, context)), "KMS_ANSWER_INVALID", what);
  }
  const unwraps: [string, (body: Record<string, unknown>) => void][] = [
    ["plaintext", (body) => Object.assign(body, { plaintext: flip(body.plaintext) })],
    ["its checksum", (body) => Object.assign(body, { plaintextCrc32c: "1" })],
    ["no checksum", (body) => delete body.plaintextCrc32c],
    ["nothing", (body) => Object.assign(body, { plaintext: "", plaintextCrc32c: "0" })],
  ];
  for (const [what, change] of unwraps) {
    kms.alter = change;
    assert.equal(await codeOf(() => wrapper.unwrap(wrapped, context)), "KMS_ANSWER_INVALID", what);
  }
  kms.alter = undefined;
  assert.deepEqual(Buffer.from(await wrapper.unwrap(wrapped, context)), KEY);
});

test("a signing key is named with its version, on a curve that models are signed with", async () => {
  const name = kms.make("signer", "EC_SIGN_P256_SHA256");
  const uri = `gcpkms://${name}/cryptoKeyVersions/1`;
  assert.equal(await codeOf(() => openSigningKey(`gcpkms://${name}`, ports())), "KMS_URI_UNKNOWN");
  const signer = await openSigner(uri, { ...ports(), cwd: "/" });
  const changes: ((body: Record<string, unknown>) => void)[] = [
    (body) => Object.assign(body, { signatureCrc32c: "1" }),
    (body) => Object.assign(body, { verifiedDigestCrc32c: false }),
    (body) => Object.assign(body, { name: "other" }),
  ];
  for (const change of changes) {
    kms.alter = change;
    assert.equal(await codeOf(() => signer.sign(KEY)), "KMS_ANSWER_INVALID");
  }
  kms.alter = (body) => Object.assign(body, { pemCrc32c: "1" });
  assert.equal(await codeOf(() => openSigner(uri, { ...ports(), cwd: "/" })), "KMS_ANSWER_INVALID");
  kms.alter = undefined;
  const foreign = `gcpkms://${kms.make("k1", "EC_SIGN_SECP256K1_SHA256")}/cryptoKeyVersions/1`;
  assert.equal(await codeOf(() => openSigner(foreign, { ...ports(), cwd: "/" })), "KMS_KEY_UNFIT");
  kms.setState(name, 1, "DISABLED");
  assert.equal(await codeOf(() => signer.sign(KEY)), "KMS_KEY_DISABLED");
});

test("URIs and endpoints that could send a token elsewhere are refused", async () => {
  const good = "projects/p1/locations/global/keyRings/r/cryptoKeys/k";
  for (const uri of [
    "gcpkms://",
    `gcpkms:/${good}`,
    `gcpkms:///${good}`,
    `gcpkms://${good}/`,
    `gcpkms://${good}?x=1`,
    `gcpkms://${good}:decrypt`,
    `gcpkms://${good}/cryptoKeyVersions/0`,
    `gcpkms://${good}/cryptoKeyVersions/1/x`,
    `gcpkms://${good.replace("cryptoKeys/k", "cryptoKeys/../x")}`,
    `gcpkms://evil.example/${good}`,
    `gcpkms://${good}${"k".repeat(3_000)}`,
  ])
    assert.equal(await codeOf(() => openKeyWrapper(uri, ports())), "KMS_URI_UNKNOWN", uri);
  for (const origin of ["http://kms.example", "https://u:p@h", "https://h/v1", "x"]) {
    const env = { CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: origin };
    assert.equal(await codeOf(() => openKeyWrapper(`gcpkms://${good}`, { random, env })), "KMS_URI_UNKNOWN", origin);
  }
});
