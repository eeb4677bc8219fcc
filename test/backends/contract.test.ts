/** One suite for every place where a key can be: what is promised of a wrapper and of a signer holds for each. */
import assert from "node:assert/strict";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { type BackendPorts, createKeyFile, openKeyWrapper, openSigningKey } from "../../src/backends/index.ts";
import { utf8 } from "../../src/base/index.ts";
import { signEnvelope, verifyEnvelope } from "../../src/signing/envelope.ts";
import { openSigner, trustKeys } from "../../src/signing/index.ts";
import { codeOf, makePair, random, temporaryFolder } from "../sealing/support.ts";
import { CLIENT, startAzureKeys, startAzureLogins, TENANT } from "./counterparts/azure.ts";
import { startGoogleKms, startGoogleLogins } from "./counterparts/google.ts";
import {
  askMoto,
  makeToken,
  NO_MOTO,
  NO_OPENBAO,
  NO_SOFTHSM,
  NO_VAULT,
  startMoto,
  startVault,
  type VaultKind,
  type VaultPeer,
} from "./peers.ts";

interface Place {
  readonly ports: BackendPorts;
  /** A key that wraps, and another one beside it. */
  readonly wraps: readonly [string, string];
  /** URIs of EC keys by curve; a place that lacks one does not have it at all. */
  readonly signs: Readonly<Partial<Record<"P-256" | "P-384" | "P-521", string>>>;
  /** A key of the wrong kind for each use, where the place can hold one. */
  readonly unfit?: { readonly toWrap: string; readonly toSign: string };
  /** A key that is not there; no passphrase is ever absent. */
  readonly absent?: string;
  readonly absentCode?: string;
  /**
   * What an administrator does to the second key, in order, and what is told then. moto lets disabled keys decrypt: what
   * AWS says of them is in aws.test.ts and failures.test.ts.
   */
  readonly fate?: readonly { readonly what: string; readonly code: string; do(): Promise<void> | void }[];
  /** A passphrase leaves no name behind: which one it was is told by trying. */
  readonly isNameless?: true;
}

interface Driver {
  readonly name: string;
  readonly missing: string;
  /** Curves of which there are keys. */
  readonly curves: readonly ("P-256" | "P-384" | "P-521")[];
  open(): Promise<Place | undefined>;
}

const ALL = ["P-256", "P-384", "P-521"] as const;

const context = { package_id: "0".repeat(32), root_digest: "1".repeat(64) };

const drivers: readonly Driver[] = [
  { name: "file", missing: "", curves: ALL, open: keyFiles },
  { name: "passphrase", missing: "", curves: [], open: passphrases },
  { name: "pkcs11 (SoftHSM2)", missing: NO_SOFTHSM, curves: ALL, open: softHsm },
  { name: "vault (Vault's core)", missing: NO_VAULT, curves: ALL, open: () => vault("vault") },
  { name: "vault (OpenBao's core)", missing: NO_OPENBAO, curves: ALL, open: () => vault("openbao") },
  { name: "awskms (moto)", missing: NO_MOTO, curves: ALL, open: moto },
  { name: "gcpkms (counterpart)", missing: "", curves: ["P-256", "P-384"], open: google },
  { name: "azurekms (counterpart, RSA)", missing: "", curves: ALL, open: () => azure("RSA-HSM") },
  { name: "azurekms (counterpart, AES of a Managed HSM)", missing: "", curves: ALL, open: () => azure("oct-HSM") },
];

async function keyFiles(): Promise<Place> {
  const folder = temporaryFolder();
  const uris = ["a", "b"].map((name) => `file://${join(folder, name)}`) as [string, string];
  for (const uri of uris) await createKeyFile(uri, random);
  const pem = (curve: string) => {
    const path = join(folder, `${curve}.pem`);
    writeFileSync(path, makePair(curve).privatePem, { mode: 0o600 });
    return `file://${path}`;
  };
  const signs = { "P-256": pem("P-256"), "P-384": pem("P-384"), "P-521": pem("P-521") };
  const absent = `file://${join(folder, "none")}`;
  return { ports: { random }, wraps: uris, signs, absent, absentCode: "KMS_KEY_MISSING" };
}

/** With the least cost that is still made, and a passphrase of two that depends on the URI. */
async function passphrases(): Promise<Place> {
  const passphrase = async () => utf8("correct horse battery staple");
  const uri = "passphrase:?memory-mib=19&passes=2";
  return { ports: { random, passphrase }, wraps: [uri, uri], signs: {}, isNameless: true };
}

async function google(): Promise<Place> {
  const logins = await startGoogleLogins();
  const kms = await startGoogleKms(logins.tokens);
  const uri = (name: string) => `gcpkms://${name}`;
  const env = {
    GOOGLE_APPLICATION_CREDENTIALS: logins.serviceAccount,
    CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: kms.origin,
  };
  const p256 = uri(`${kms.make("p256", "EC_SIGN_P256_SHA256")}/cryptoKeyVersions/1`);
  const kek = uri(kms.make("kek"));
  const other = kms.make("other");
  return {
    ports: { random, env },
    wraps: [kek, uri(other)],
    signs: { "P-256": p256, "P-384": uri(`${kms.make("p384", "EC_SIGN_P384_SHA384")}/cryptoKeyVersions/1`) },
    unfit: { toWrap: p256, toSign: `${kek}/cryptoKeyVersions/1` },
    absent: `${kek}-none/cryptoKeyVersions/1`,
    absentCode: "KMS_KEY_NOT_FOUND",
    fate: [
      { what: "disabled", code: "KMS_KEY_DISABLED", do: () => kms.setState(other, 1, "DISABLED") },
      { what: "enabled", code: "", do: () => kms.setState(other, 1, "ENABLED") },
      { what: "destroyed", code: "KMS_KEY_DISABLED", do: () => kms.setState(other, 1, "DESTROYED") },
    ],
  };
}

async function azure(kind: "RSA-HSM" | "oct-HSM"): Promise<Place> {
  const logins = await startAzureLogins();
  const vault = await startAzureKeys(logins.tokens);
  const uri = (name: string) => `azurekms://${vault.host}/${name}?insecure-http=1`;
  vault.make("kek", kind);
  const other = vault.make("other", kind);
  for (const curve of ALL) vault.make(curve, curve);
  const env = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT, AZURE_CLIENT_SECRET: logins.secret };
  return {
    ports: { random, env: { ...env, AZURE_AUTHORITY_HOST: logins.origin } },
    wraps: [uri("kek"), uri("other")],
    signs: { "P-256": uri("P-256"), "P-384": uri("P-384"), "P-521": uri("P-521") },
    unfit: { toWrap: uri("P-256"), toSign: uri("kek") },
    absent: uri("nobody"),
    absentCode: "KMS_KEY_NOT_FOUND",
    fate: [
      { what: "disabled", code: "KMS_KEY_DISABLED", do: () => vault.setEnabled("other", other, false) },
      { what: "enabled", code: "", do: () => vault.setEnabled("other", other, true) },
      { what: "deleted", code: "KMS_KEY_NOT_FOUND", do: () => vault.remove("other") },
    ],
  };
}

async function softHsm(): Promise<Place | undefined> {
  const token = makeToken("contract");
  if (!token) return undefined;
  token.importAes("kek", "01", randomBytes(32));
  token.importAes("other", "02", randomBytes(32));
  token.importKey("p256", "03", "P-256");
  token.importKey("p384", "04", "P-384");
  token.importKey("p521", "05", "P-521");
  const uri = (object: string) =>
    `pkcs11:token=contract;object=${object}?module-path=${token.module}&pin-source=file:${token.pinFile}`;
  return {
    ports: { random },
    wraps: [uri("kek"), uri("other")],
    signs: { "P-256": uri("p256"), "P-384": uri("p384"), "P-521": uri("p521") },
    absent: uri("nobody"),
    absentCode: "KMS_KEY_NOT_FOUND",
  };
}

async function vault(kind: VaultKind): Promise<Place | undefined> {
  const peer = await startVault(kind);
  if (!peer) return undefined;
  const kinds = { kek: "aes256-gcm96", other: "chacha20-poly1305", "p-256": "ecdsa-p256", "p-384": "ecdsa-p384" };
  for (const [name, type] of Object.entries({ ...kinds, "p-521": "ecdsa-p521" }))
    assert.equal((await peer.ask("POST", `transit/keys/${name}`, { type })).status, 200);
  const uri = (name: string) => `vault://${peer.host}/transit/${name}?insecure-http=1`;
  return {
    ports: { random, env: { VAULT_TOKEN: peer.rootToken } },
    wraps: [uri("kek"), uri("other")],
    signs: { "P-256": uri("p-256"), "P-384": uri("p-384"), "P-521": uri("p-521") },
    unfit: { toWrap: uri("p-256"), toSign: uri("kek") },
    absent: uri("nobody"),
    absentCode: "KMS_KEY_NOT_FOUND",
    fate: [{ what: "deleted", code: "KMS_KEY_NOT_FOUND", do: () => deleteKey(peer, "other") }],
  };
}

/** Without upsert: Vault would else make a new key when it is asked to encrypt with one that is not there. */
async function deleteKey(peer: VaultPeer, name: string): Promise<void> {
  assert.ok((await peer.ask("POST", "transit/config/keys", { disable_upsert: true })).status < 300);
  await peer.ask("POST", `transit/keys/${name}/config`, { deletion_allowed: true });
  assert.equal((await peer.ask("DELETE", `transit/keys/${name}`)).status, 204);
}

async function moto(): Promise<Place | undefined> {
  const endpoint = await startMoto();
  if (!endpoint) return undefined;
  const region = "eu-central-1";
  const create = async (KeySpec: string, KeyUsage: string) =>
    (await askMoto(endpoint, "CreateKey", { KeySpec, KeyUsage })).KeyMetadata.KeyId as string;
  const kek = await create("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
  await askMoto(endpoint, "CreateAlias", { AliasName: "alias/models", TargetKeyId: kek });
  const uri = (name: string) => `awskms://${region}/${name}`;
  const p256 = uri(await create("ECC_NIST_P256", "SIGN_VERIFY"));
  return {
    ports: {
      random,
      env: { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_ENDPOINT_URL: endpoint },
    },
    wraps: [uri("alias/models"), uri(await create("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"))],
    signs: {
      "P-256": p256,
      "P-384": uri(await create("ECC_NIST_P384", "SIGN_VERIFY")),
      "P-521": uri(await create("ECC_NIST_P521", "SIGN_VERIFY")),
    },
    unfit: { toWrap: p256, toSign: uri("alias/models") },
    absent: uri("00000000-0000-0000-0000-000000000000"),
    absentCode: "KMS_KEY_NOT_FOUND",
  };
}

for (const driver of drivers) {
  let place: Place | undefined;
  before(async () => {
    place = await driver.open();
  });

  test(`${driver.name}: a wrapped key comes back under its context alone`, async (t) => {
    if (!place) return t.skip(driver.missing);
    const wrapper = await openKeyWrapper(place.wraps[0], place.ports);
    for (const length of [1, 32, 1_024]) {
      const key = randomBytes(length);
      const wrapped = await wrapper.wrap(key, context);
      assert.ok(wrapper.recognises(wrapped));
      assert.ok(wrapped.keyId.length <= 512 && wrapped.keyVersion.length <= 64 && wrapped.ciphertext.length < 6_000);
      assert.ok(!/pin-source|module-path|token=s\.|insecure/.test(wrapped.kms), wrapped.kms);
      assert.ok(!Buffer.from(wrapped.ciphertext).includes(key) || length < 4);
      assert.deepEqual(Buffer.from(await wrapper.unwrap(wrapped, context)), key);
      for (const other of [{ ...context, package_id: "2".repeat(32) }, {}, { ...context, more: "" }])
        assert.equal(await codeOf(() => wrapper.unwrap(wrapped, other)), "UNWRAP_FAILED");
    }
    await assert.rejects(wrapper.wrap(new Uint8Array(0), context), RangeError);
    await assert.rejects(wrapper.wrap(new Uint8Array(1_025), context), RangeError);
  });

  test(`${driver.name}: two wraps differ, and each byte of one counts`, async (t) => {
    if (!place) return t.skip(driver.missing);
    const wrapper = await openKeyWrapper(place.wraps[0], place.ports);
    const key = randomBytes(32);
    const wrapped = await wrapper.wrap(key, context);
    assert.notDeepEqual((await wrapper.wrap(key, context)).ciphertext, wrapped.ciphertext);
    const { length } = wrapped.ciphertext;
    for (const at of [0, 1, 11, 12, 13, length >> 1, length - 17, length - 16, length - 1]) {
      const ciphertext = wrapped.ciphertext.slice();
      ciphertext[at] = (ciphertext[at] ?? 0) ^ 1;
      assert.equal(await codeOf(() => wrapper.unwrap({ ...wrapped, ciphertext }, context)), "UNWRAP_FAILED", `${at}`);
    }
    for (const end of [0, 1, 12, 28, length - 1]) {
      const ciphertext = wrapped.ciphertext.slice(0, end);
      assert.equal(await codeOf(() => wrapper.unwrap({ ...wrapped, ciphertext }, context)), "UNWRAP_FAILED", `${end}`);
    }
    const long = { ...wrapped, ciphertext: new Uint8Array(8_000) };
    assert.equal(await codeOf(() => wrapper.unwrap(long, context)), "UNWRAP_FAILED");
  });

  test(`${driver.name}: another key neither recognises nor opens it`, async (t) => {
    if (!place) return t.skip(driver.missing);
    const [one, two] = await Promise.all(place.wraps.map((uri) => openKeyWrapper(uri, place?.ports ?? { random })));
    assert.ok(one && two);
    const wrapped = await one.wrap(randomBytes(32), context);
    if (!place.isNameless) {
      assert.equal(two.recognises(wrapped), false);
      assert.equal(await codeOf(() => two.unwrap(wrapped, context)), "UNWRAP_FAILED");
    }
    const theirs = await two.wrap(randomBytes(32), context);
    const swapped = { ...wrapped, ciphertext: theirs.ciphertext };
    assert.equal(await codeOf(() => one.unwrap(swapped, context)), "UNWRAP_FAILED");
    for (const change of [{ keyId: "x" }, { keyVersion: "x" }, { keyVersion: "__proto__" }]) {
      assert.equal(one.recognises({ ...wrapped, ...change }), false);
      assert.equal(await codeOf(() => one.unwrap({ ...wrapped, ...change }, context)), "UNWRAP_FAILED");
    }
  });

  test(`${driver.name}: twenty at once do not get in each other's way`, async (t) => {
    if (!place) return t.skip(driver.missing);
    const wrapper = await openKeyWrapper(place.wraps[0], place.ports);
    const keys = Array.from({ length: 20 }, () => randomBytes(32));
    const back = await Promise.all(keys.map(async (key) => wrapper.unwrap(await wrapper.wrap(key, context), context)));
    assert.deepEqual(
      back.map((key) => Buffer.from(key)),
      keys,
    );
  });

  for (const curve of driver.curves) {
    test(`${driver.name}: a signature on ${curve} verifies with the public key that is told`, async (t) => {
      if (!place) return t.skip(driver.missing);
      const hash = { "P-256": "sha256", "P-384": "sha384", "P-521": "sha512" }[curve];
      const signer = await openSigner(place.signs[curve] ?? "", { ...place.ports, cwd: "/" });
      const bytes = randomBytes(1_000);
      for (let round = 0; round < 4; round++) {
        const key = createPublicKey(signer.publicKeyPem);
        assert.ok(verify(hash, bytes, { key, dsaEncoding: "der" }, await signer.sign(bytes)));
      }
      assert.equal(signer.keyId, createHash("sha256").update(signer.publicKeyPem).digest("hex"));
      const envelope = await signEnvelope(bytes, signer);
      assert.ok(verifyEnvelope(envelope, trustKeys([signer.publicKeyPem])));
    });
  }

  test(`${driver.name}: a key that is disabled, enabled again or deleted is told as that, and changes no other`, async (t) => {
    if (!place) return t.skip(driver.missing);
    const { ports, wraps, fate = [] } = place;
    const [first, second] = await Promise.all(wraps.map((uri) => openKeyWrapper(uri, ports)));
    assert.ok(first && second);
    const key = randomBytes(32);
    const [mine, theirs] = [await first.wrap(key, context), await second.wrap(key, context)];
    assert.deepEqual(Buffer.from(await second.unwrap(theirs, context)), key);
    for (const { what, code, do: administer } of fate) {
      await administer();
      assert.equal((await codeOf(() => second.unwrap(theirs, context))) ?? "", code, what);
      assert.equal((await codeOf(() => second.wrap(key, context))) ?? "", code, `${what}, to wrap`);
      assert.deepEqual(Buffer.from(await first.unwrap(mine, context)), key);
    }
  });

  test(`${driver.name}: a key that is not there, and one of the wrong kind, are told apart`, async (t) => {
    if (!place) return t.skip(driver.missing);
    const { ports, absent, absentCode, unfit } = place;
    if (absent === undefined) return;
    assert.equal(await codeOf(() => openKeyWrapper(absent, ports)), absentCode);
    const missing = await codeOf(() => openSigner(absent, { ...ports, cwd: "/" }));
    assert.equal(missing, absent.startsWith("file:") ? "SIGNING_KEY_INVALID" : absentCode);
    if (!unfit) return;
    const useAsWrapper = async () => (await openKeyWrapper(unfit.toWrap, ports)).wrap(randomBytes(32), context);
    assert.equal(await codeOf(useAsWrapper), "KMS_KEY_UNFIT");
    assert.equal(await codeOf(() => openSigner(unfit.toSign, { ...ports, cwd: "/" })), "KMS_KEY_UNFIT");
  });
}

test("a URI of no service is refused, and a key file does not sign by itself", async () => {
  for (const uri of [
    "",
    "gcpkms://x/y",
    "azurekms://evil.example/k",
    "passphrase:x",
    "vault:x",
    "awskms:/x",
    "PKCS11:object=x",
    "file:relative",
    "javascript:1",
  ]) {
    assert.equal(await codeOf(() => openKeyWrapper(uri, { random })), "KMS_URI_UNKNOWN", uri);
    assert.equal(await codeOf(() => openSigningKey(uri, { random })), "KMS_URI_UNKNOWN", uri);
  }
  assert.equal(await codeOf(() => openSigner("file://other-host/x", { random, cwd: "/" })), "SIGNING_KEY_INVALID");
});

test("a key in a file that others may read does not sign, by path or by URI", async () => {
  const path = join(temporaryFolder(), "k.pem");
  writeFileSync(path, makePair().privatePem, { mode: 0o600 });
  chmodSync(path, 0o640);
  for (const name of [path, `file://${path}`])
    assert.equal(await codeOf(() => openSigner(name, { random, cwd: "/" })), "SIGNING_KEY_EXPOSED");
});
