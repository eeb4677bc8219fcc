/** Vault and OpenBao themselves: policies, tokens that end, AppRole, keys rotated, archived, derived and deleted, a sealed server. */
import assert from "node:assert/strict";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { openKeyWrapper, openSigningKey } from "../../src/backends/index.ts";
import { openSigner } from "../../src/signing/index.ts";
import { codeOf, random, temporaryFolder } from "../sealing/support.ts";
import { startVault, VAULTS, type VaultPeer } from "./peers.ts";

const context = { package_id: "p", root_digest: "r" };
const KEY = randomBytes(32);
const limits = { attempts: 2, backoffMilliseconds: 5 };

const uriOf = (vault: VaultPeer, key: string, mount = "transit") =>
  `vault://${vault.host}/${mount}/${key}?insecure-http=1`;
const portsOf = (env: Record<string, string>) => ({ random, env, limits });

async function makeKey(vault: VaultPeer, name: string, options: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await vault.ask("POST", `transit/keys/${name}`, options);
  assert.equal(status, 200, JSON.stringify(body));
  return uriOf(vault, name);
}

async function policy(vault: VaultPeer, name: string, rules: Record<string, string[]>): Promise<void> {
  const text = Object.entries(rules).map(([path, may]) => `path "${path}" { capabilities = ${JSON.stringify(may)} }`);
  assert.equal((await vault.ask("POST", `sys/policy/${name}`, { policy: text.join("\n") })).status, 204);
}

async function tokenFor(vault: VaultPeer, options: Record<string, unknown>): Promise<string> {
  const { status, body } = await vault.ask("POST", "auth/token/create", options);
  assert.equal(status, 200, JSON.stringify(body));
  return body.auth.client_token;
}

for (const { kind, missing } of VAULTS) {
  let peer: VaultPeer | undefined;
  before(async () => {
    peer = await startVault(kind);
  });

  test(`${kind}: a token that may only encrypt wraps and does not unwrap`, async (t) => {
    if (!peer) return t.skip(missing);
    const uri = await makeKey(peer, "narrow");
    await policy(peer, "narrow", { "transit/encrypt/narrow": ["update"] });
    const env = { VAULT_TOKEN: await tokenFor(peer, { policies: ["narrow"] }) };
    const wrapper = await openKeyWrapper(uri, portsOf(env));
    const wrapped = await wrapper.wrap(KEY, context);
    assert.equal(await codeOf(() => wrapper.unwrap(wrapped, context)), "KMS_DENIED");
    assert.equal(await codeOf(() => openSigningKey(uri, portsOf(env)).then((key) => key.publicKeyPem())), "KMS_DENIED");
    const root = await openKeyWrapper(uri, portsOf({ VAULT_TOKEN: peer.rootToken }));
    assert.deepEqual(Buffer.from(await root.unwrap(wrapped, context)), KEY);
  });

  test(`${kind}: a token that is wrong, over or revoked is told from one that may not`, async (t) => {
    if (!peer) return t.skip(missing);
    const uri = await makeKey(peer, "tokens");
    const wrong = await openKeyWrapper(uri, portsOf({ VAULT_TOKEN: "hvs.wrong" })).then(
      (wrapper) => codeOf(() => wrapper.wrap(KEY, context)),
      (error) => error.code,
    );
    assert.equal(wrong, "KMS_CREDENTIALS_REFUSED");
    await policy(peer, "tokens", { "transit/*": ["update", "read"] });
    const token = await tokenFor(peer, { policies: ["tokens"] });
    const file = join(temporaryFolder(), "token");
    writeFileSync(file, token, { mode: 0o600 });
    const given = await openKeyWrapper(uri, portsOf({ VAULT_TOKEN: token }));
    const filed = await openKeyWrapper(uri, portsOf({ VAULT_TOKEN_FILE: file }));
    await given.wrap(KEY, context);
    await peer.ask("POST", "auth/token/revoke", { token });
    assert.equal(await codeOf(() => given.wrap(KEY, context)), "KMS_CREDENTIALS_REFUSED");
    writeFileSync(file, await tokenFor(peer, { policies: ["tokens"] }));
    await filed.wrap(KEY, context);
  });

  test(`${kind}: an AppRole logs in, and again when its token is revoked; a wrong secret does not`, async (t) => {
    if (!peer) return t.skip(missing);
    const uri = await makeKey(peer, "role");
    await policy(peer, "role", { "transit/*": ["update", "read"] });
    await peer.ask("POST", "auth/approle/role/keeper", { token_policies: "role", token_ttl: "1h" });
    const roleId = (await peer.ask("GET", "auth/approle/role/keeper/role-id")).body.data.role_id;
    const secret = (await peer.ask("POST", "auth/approle/role/keeper/secret-id")).body.data;
    const env = { VAULT_ROLE_ID: roleId, VAULT_SECRET_ID: secret.secret_id };
    const wrapper = await openKeyWrapper(uri, portsOf(env));
    const wrapped = await wrapper.wrap(KEY, context);
    for (const accessor of (await peer.ask("LIST", "auth/token/accessors")).body.data.keys) {
      const { body } = await peer.ask("POST", "auth/token/lookup-accessor", { accessor });
      if (body.data.path === "auth/approle/login") await peer.ask("POST", "auth/token/revoke-accessor", { accessor });
    }
    const opened = await Promise.all(Array.from({ length: 8 }, () => wrapper.unwrap(wrapped, context)));
    for (const key of opened) assert.deepEqual(Buffer.from(key), KEY);
    const wrong = { ...env, VAULT_SECRET_ID: "00000000-0000-0000-0000-000000000000" };
    assert.equal(await codeOf(() => openKeyWrapper(uri, portsOf(wrong))), "KMS_CREDENTIALS_REFUSED");
  });

  test(`${kind}: a token that may be renewed is, before it ends, without a call in between`, async (t) => {
    if (!peer) return t.skip(missing);
    const uri = await makeKey(peer, "renewed");
    await policy(peer, "renewed", { "transit/*": ["update", "read"] });
    const [renewable, ending] = [
      await tokenFor(peer, { policies: ["renewed"], ttl: "3s", period: "3s" }),
      await tokenFor(peer, { policies: ["renewed"], ttl: "3s", renewable: false }),
    ];
    const long = await openKeyWrapper(uri, portsOf({ VAULT_TOKEN: renewable }));
    const short = await openKeyWrapper(uri, portsOf({ VAULT_TOKEN: ending }));
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    await long.wrap(KEY, context);
    assert.equal(await codeOf(() => short.wrap(KEY, context)), "KMS_CREDENTIALS_REFUSED");
  });

  test(`${kind}: a rotated key opens what it wrapped before, until that version is archived or the key is deleted`, async (t) => {
    if (!peer) return t.skip(missing);
    const uri = await makeKey(peer, "rotated");
    const wrapper = await openKeyWrapper(uri, portsOf({ VAULT_TOKEN: peer.rootToken }));
    const first = await wrapper.wrap(KEY, context);
    await peer.ask("POST", "transit/keys/rotated/rotate");
    const second = await wrapper.wrap(KEY, context);
    assert.deepEqual([first.keyVersion, second.keyVersion], ["1", "2"]);
    for (const wrapped of [first, second]) assert.deepEqual(Buffer.from(await wrapper.unwrap(wrapped, context)), KEY);
    assert.equal(await codeOf(() => wrapper.unwrap({ ...first, keyVersion: "2" }, context)), "UNWRAP_FAILED");
    assert.equal(await codeOf(() => wrapper.unwrap({ ...first, keyVersion: "3" }, context)), "UNWRAP_FAILED");
    await peer.ask("POST", "transit/keys/rotated/config", { min_decryption_version: 2, deletion_allowed: true });
    assert.equal(await codeOf(() => wrapper.unwrap(first, context)), "UNWRAP_FAILED");
    assert.equal((await peer.ask("DELETE", "transit/keys/rotated")).status, 204);
    assert.equal(await codeOf(() => wrapper.unwrap(second, context)), "KMS_KEY_NOT_FOUND");
    // Vault makes a key that is encrypted with and not there, if the token may: this wrap cannot open the old ones.
    assert.equal(
      await codeOf(() => openKeyWrapper(uri, portsOf({ VAULT_TOKEN: peer?.rootToken ?? "" }))),
      "KMS_KEY_NOT_FOUND",
    );
  });

  test(`${kind}: a derived key binds the context as well, and each kind of key that cannot is unfit`, async (t) => {
    if (!peer) return t.skip(missing);
    const ports = portsOf({ VAULT_TOKEN: peer.rootToken });
    for (const type of ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305"]) {
      const wrapper = await openKeyWrapper(await makeKey(peer, `derived-${type}`, { type, derived: true }), ports);
      const wrapped = await wrapper.wrap(KEY, context);
      assert.deepEqual(Buffer.from(await wrapper.unwrap(wrapped, context)), KEY);
      assert.equal(await codeOf(() => wrapper.unwrap(wrapped, {})), "UNWRAP_FAILED");
    }
    for (const type of ["rsa-2048", "ed25519", "ecdsa-p256", "hmac"]) {
      const uri = await makeKey(peer, `unfit-${type}`, { type, ...(type === "hmac" ? { key_size: 32 } : {}) });
      assert.equal(await codeOf(() => openKeyWrapper(uri, ports)), "KMS_KEY_UNFIT", type);
      const signs = await codeOf(() => openSigner(uri, { ...ports, cwd: "/" }));
      assert.equal(signs, type === "ecdsa-p256" ? undefined : "KMS_KEY_UNFIT", type);
    }
    const none = await codeOf(() => openKeyWrapper(uriOf(peer as VaultPeer, "k", "other"), ports));
    assert.equal(none, "KMS_KEY_NOT_FOUND");
  });

  test(`${kind}: a signer stays with the version that it told, when the key is rotated in between`, async (t) => {
    if (!peer) return t.skip(missing);
    const uri = await makeKey(peer, "turning", { type: "ecdsa-p384" });
    const signer = await openSigner(uri, { ...portsOf({ VAULT_TOKEN: peer.rootToken }), cwd: "/" });
    await peer.ask("POST", "transit/keys/turning/rotate");
    const signature = await signer.sign(KEY);
    assert.ok(verify("sha384", KEY, { key: createPublicKey(signer.publicKeyPem), dsaEncoding: "der" }, signature));
    const later = await openSigner(uri, { ...portsOf({ VAULT_TOKEN: peer.rootToken }), cwd: "/" });
    assert.notEqual(later.keyId, signer.keyId);
    const raw = await openSigningKey(uri, portsOf({ VAULT_TOKEN: peer.rootToken }));
    const digest = createHash("sha384").update("x").digest();
    const key = createPublicKey(later.publicKeyPem);
    assert.ok(verify("sha384", Buffer.from("x"), { key, dsaEncoding: "der" }, await raw.sign(digest, "sha384")));
  });

  /** The last one, since nothing works afterwards. */
  test(`${kind}: a sealed Vault is told from one that is gone`, async (t) => {
    if (!peer) return t.skip(missing);
    const uri = await makeKey(peer, "sealed");
    const wrapper = await openKeyWrapper(uri, portsOf({ VAULT_TOKEN: peer.rootToken }));
    const wrapped = await wrapper.wrap(KEY, context);
    assert.equal((await peer.ask("PUT", "sys/seal")).status, 204);
    assert.equal(await codeOf(() => wrapper.unwrap(wrapped, context)), "KMS_SEALED");
    assert.equal(await codeOf(() => openKeyWrapper(uri, portsOf({ VAULT_TOKEN: "hvs.x" }))), "KMS_SEALED");
    await peer.ask("PUT", "sys/unseal", { key: peer.unsealKey }, "none");
    for (let tries = 0; (await fetch(`${peer.origin}/v1/sys/health`)).status !== 200 && tries < 100; tries++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(Buffer.from(await wrapper.unwrap(wrapped, context)), KEY);
  });
}
