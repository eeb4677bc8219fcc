/** The driver of Vault and OpenBao against both, real: key-value engines, engines that lend, namespaces, logins, wrapping. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { unwrapVault } from "../../src/backends/index.ts";
import { utf8 } from "../../src/base/index.ts";
import { type SecretDriver, secretError } from "../../src/secrets/index.ts";
import { startVault, VAULTS, type VaultPeer } from "../backends/peers.ts";
import { codeOf, random } from "../sealing/support.ts";
import { testDriver } from "./driver-contract.ts";
import { openDriver } from "./support.ts";

const limits = { attempts: 2, backoffMilliseconds: 5 };
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");

function open(peer: VaultPeer, env: Record<string, string> = {}, query = ""): Promise<SecretDriver> {
  const insecure = peer.origin.startsWith("http:") ? `${query === "" ? "?" : "&"}insecure-http=1` : "";
  const all = { VAULT_TOKEN: peer.rootToken, ...env };
  return openDriver(`vault://${peer.host}${query}${insecure}`, all);
}

async function done(answer: Promise<{ status: number; body: unknown }>): Promise<void> {
  const { status, body } = await answer;
  assert.ok(status === 200 || status === 204, JSON.stringify(body));
}

async function valueAt(driver: SecretDriver, reference: string): Promise<string> {
  using key = (await driver.read(reference, { ttlSeconds: 60 })).key;
  return key.use(text);
}

const failing = (driver: SecretDriver, reference: string) => codeOf(() => driver.read(reference, { ttlSeconds: 60 }));

async function prepare(peer: VaultPeer): Promise<void> {
  await done(peer.ask("POST", "sys/mounts/one", { type: "kv" }));
  await done(peer.ask("POST", "sys/mounts/two", { type: "kv", options: { version: "2" } }));
  await done(peer.ask("POST", "sys/mounts/lent", { type: "leased" }));
  await done(peer.ask("POST", "sys/mounts/pki", { type: "pki" }));
  await done(peer.ask("POST", "one/app/db", { password: 'p"w\\1\n\u00e9', port: 5432 }));
  await done(peer.ask("POST", "lent/role", { value: "sk-lent", ttl: "300s" }));
  await done(peer.ask("POST", "pki/root/generate/internal", { common_name: "authority", key_type: "ec" }));
  await done(
    peer.ask("POST", "pki/roles/web", { allow_any_name: true, generate_lease: true, key_type: "ec", max_ttl: "600s" }),
  );
  // A version 2 engine is ready a moment after it is mounted.
  for (let tries = 0; tries < 100; tries++) {
    if ((await peer.ask("POST", "two/data/app", { data: { key: "sk-v2-1" } })).status === 200) return;
    await sleep(50);
  }
  assert.fail("the engine does not become ready");
}

async function leasesBelow(peer: VaultPeer, prefix: string): Promise<string[]> {
  const { status, body } = await peer.ask("LIST", `sys/leases/lookup/${prefix}`);
  return status === 404 ? [] : (body.data.keys as string[]).map((name) => `${prefix}${name}`);
}

for (const { kind, missing } of VAULTS) {
  let peer: VaultPeer | undefined;
  before(async () => {
    peer = await startVault(kind);
    if (peer) await prepare(peer);
  });
  const there = (): VaultPeer => peer as VaultPeer;

  testDriver(
    `${kind}, version 2`,
    async () => {
      await done(there().ask("POST", "two/data/contract", { data: { key: "sk-contract", other: "x" } }));
      const change = () =>
        done(there().ask("POST", "two/data/contract", { data: { key: `sk-${randomBytes(8).toString("hex")}` } }));
      const reference = "two/contract#key";
      return {
        driver: await open(there()),
        reference,
        value: utf8("sk-contract"),
        absent: "two/nothing#key",
        invalid: "two",
        change,
      };
    },
    () => (peer ? undefined : missing),
  );
  testDriver(
    `${kind}, leases`,
    async () => {
      await done(there().ask("PUT", "sys/leases/revoke-prefix/lent"));
      const openLeases = () => leasesBelow(there(), "lent/role/");
      const driver = await open(there());
      return {
        driver,
        reference: "lent/role#value",
        absent: "lent/nothing#value",
        invalid: "../lent/role",
        openLeases,
      };
    },
    () => (peer ? undefined : missing),
  );

  test(`${kind}: fields with odd characters, whole documents, numbers, versions`, async (t) => {
    if (!peer) return t.skip(missing);
    const driver = await open(peer);
    assert.equal(await valueAt(driver, "one/app/db#password"), 'p"w\\1\n\u00e9');
    assert.equal(await valueAt(driver, "one/app/db#port"), "5432");
    assert.deepEqual(JSON.parse(await valueAt(driver, "one/app/db")), { password: 'p"w\\1\n\u00e9', port: 5432 });
    await done(peer.ask("POST", "two/data/app", { data: { key: "sk-v2-2" } }));
    assert.equal(await valueAt(driver, "two/app#key"), "sk-v2-2");
    assert.equal(await valueAt(driver, "two/app?version=1#key"), "sk-v2-1");
    for (const gone of ["two/app?version=99#key", "two/app#nothing", "one/nothing"])
      assert.equal(await failing(driver, gone), "SECRET_NOT_FOUND", gone);
    assert.equal(await failing(driver, "no/such/mount"), "KEEPER_DENIED", "Vault does not say more");
    await done(peer.ask("POST", "two/delete/app", { versions: [1] }));
    assert.equal(await failing(driver, "two/app?version=1#key"), "SECRET_NOT_FOUND");
    for (const odd of [
      "two/app?version=0",
      "two/../app",
      "/two/app",
      "two/app#",
      "two/app?a=1?b=2",
      "two/app?version=1&version=2",
    ])
      assert.throws(() => driver.check?.(odd), { code: "SECRET_REFERENCE_INVALID" }, odd);
  });

  test(`${kind}: what is longer than a secret may be is refused, and given back`, async (t) => {
    if (!peer) return t.skip(missing);
    const driver = await open(peer);
    await done(
      peer.ask("POST", "two/data/long", { data: { key: "x".repeat(16_385), fits: "y".repeat(16_384), none: "" } }),
    );
    assert.equal(await failing(driver, "two/long#key"), "SECRET_VALUE_INVALID");
    assert.equal(await failing(driver, "two/long#none"), "SECRET_VALUE_INVALID");
    assert.equal((await valueAt(driver, "two/long#fits")).length, 16_384);
    await done(peer.ask("POST", "lent/long", { value: "x".repeat(16_385), ttl: "300s" }));
    assert.equal(await failing(driver, "lent/long#value"), "SECRET_VALUE_INVALID");
    assert.deepEqual(await leasesBelow(peer, "lent/long/"), []);
  });

  test(`${kind}: a certificate is lent for its parameters, and revoked with its lease`, async (t) => {
    if (!peer) return t.skip(missing);
    const driver = await open(peer);
    const { key, lease } = await driver.read("pki/issue/web?common_name=a.example&ttl=300s", { ttlSeconds: 60 });
    const issued = JSON.parse(key.use(text));
    key.wipe();
    assert.match(issued.private_key, /BEGIN EC PRIVATE KEY/);
    assert.ok(lease && lease.ttlSeconds > 0 && lease.ttlSeconds <= 600);
    assert.equal((await peer.ask("GET", `pki/cert/${issued.serial_number}`)).body.data.revocation_time, 0);
    await driver.revoke?.(lease.id);
    assert.ok((await peer.ask("GET", `pki/cert/${issued.serial_number}`)).body.data.revocation_time > 0);
    assert.equal(await failing(driver, "pki/issue/web?nothing=a"), "KEEPER_REFUSED");
  });

  test(`${kind}: a token that may not, one that is over, and a login that gets another one`, async (t) => {
    if (!peer) return t.skip(missing);
    await done(peer.ask("POST", "sys/policy/reader", { policy: 'path "two/data/app" { capabilities = ["read"] }' }));
    const made = await peer.ask("POST", "auth/token/create", { policies: ["reader"] });
    const token: string = made.body.auth.client_token;
    const driver = await open(peer, { VAULT_TOKEN: token });
    assert.equal(await valueAt(driver, "two/app#key"), "sk-v2-2");
    assert.equal(await failing(driver, "two/other#key"), "KEEPER_DENIED");
    assert.equal(await failing(driver, "one/app/db#password"), "KEEPER_DENIED");
    await done(peer.ask("POST", "auth/token/revoke", { token }));
    assert.equal(await failing(driver, "two/app#key"), "KEEPER_LOGIN_REFUSED");
    await done(peer.ask("POST", "auth/approle/role/reader", { token_policies: "reader" }));
    const role = (await peer.ask("GET", "auth/approle/role/reader/role-id")).body.data.role_id;
    const secretId = (await peer.ask("POST", "auth/approle/role/reader/secret-id")).body.data.secret_id;
    const byRole = await open(peer, { VAULT_TOKEN: "", VAULT_ROLE_ID: role, VAULT_SECRET_ID: secretId });
    assert.equal(await valueAt(byRole, "two/app#key"), "sk-v2-2");
    const accessors: string[] = (await peer.ask("LIST", "auth/token/accessors")).body.data.keys;
    for (const accessor of accessors) {
      const found = await peer.ask("POST", "auth/token/lookup-accessor", { accessor });
      if (found.body.data?.path === "auth/approle/login")
        await peer.ask("POST", "auth/token/revoke-accessor", { accessor });
    }
    assert.equal(await valueAt(byRole, "two/app#key"), "sk-v2-2");
  });

  test(`${kind}: a wrapped value opens once; a used token and one made elsewhere are an alarm`, async (t) => {
    if (!peer) return t.skip(missing);
    const { origin, host, rootToken } = peer;
    const wrap = async (): Promise<string> => {
      const headers = { "x-vault-token": rootToken, "x-vault-wrap-ttl": "60s" };
      const answer = await fetch(`${origin}/v1/two/data/app`, { headers });
      return ((await answer.json()) as { wrap_info: { token: string } }).wrap_info.token;
    };
    const uri = `vault://${host}?insecure-http=1`;
    const alarm = (detail: string) => secretError("WRAPPING_TOKEN_USED", { detail });
    const unwrap = (token: string, from = "two/data/app") =>
      unwrapVault({ uri, token: utf8(token), from }, ["data", "data", "key"], { random, limits, env: {} }, alarm);
    const token = await wrap();
    assert.equal(text((await unwrap(token)) ?? new Uint8Array(0)), "sk-v2-2");
    assert.equal(await codeOf(() => unwrap(token)), "WRAPPING_TOKEN_USED");
    const elsewhere = await wrap();
    assert.equal(await codeOf(() => unwrap(elsewhere, "two/data/mine")), "WRAPPING_TOKEN_USED");
    assert.equal(text((await unwrap(elsewhere)) ?? new Uint8Array(0)), "sk-v2-2", "it was not opened to be refused");
    assert.equal(await codeOf(() => unwrap("hvs.nothing")), "WRAPPING_TOKEN_USED");
  });

  test(`${kind}: TLS of a stranger is refused`, async (t) => {
    const folder = execFileSync("mktemp", ["-d"], { encoding: "utf8" }).trim();
    const tls = { key: `${folder}/key.pem`, cert: `${folder}/cert.pem` };
    const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    execFileSync(
      "openssl",
      [...words, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tls.key, "-out", tls.cert],
      { stdio: "pipe" },
    );
    const secure = await startVault(kind, tls);
    if (!secure) return t.skip(missing);
    await prepare(secure);
    assert.equal(await failing(await open(secure), "two/app#key"), "KEEPER_TLS_REFUSED");
    assert.equal(await valueAt(await open(secure, { VAULT_CACERT: tls.cert }), "two/app#key"), "sk-v2-1");
  });
}

test("openbao: a namespace is another world", async (t) => {
  const peer = await startVault("openbao");
  if (!peer) return t.skip(VAULTS[1]?.missing ?? "");
  await done(peer.ask("POST", "sys/namespaces/team"));
  await done(peer.ask("POST", "team/sys/mounts/kv", { type: "kv" }));
  await done(peer.ask("POST", "team/kv/app", { key: "sk-team" }));
  assert.equal(await valueAt(await open(peer, {}, "?namespace=team"), "kv/app#key"), "sk-team");
  assert.equal(await valueAt(await open(peer, { VAULT_NAMESPACE: "team" }), "kv/app#key"), "sk-team");
  const outside = await failing(await open(peer), "kv/app#key");
  assert.ok(outside === "SECRET_NOT_FOUND" || outside === "KEEPER_DENIED", outside);
});
