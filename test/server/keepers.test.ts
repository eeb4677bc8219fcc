/** The whole server with drivers: OpenBao behind it, providers that believe its tokens, and the command line's import. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import {
  getPolicy,
  linkSecret,
  listSecrets,
  rotateIdentityKey,
  setPolicy,
  setProvider,
} from "../../src/contract/index.ts";
import { loadConfig } from "../../src/server/config.ts";
import { startFederation } from "../backends/counterparts/federation.ts";
import { NO_OPENBAO, startVault, type VaultPeer } from "../backends/peers.ts";
import { Stage } from "../cli/stage.ts";
import { codeOf } from "../sealing/support.ts";
import { freePort } from "../support/ports.ts";
import { newFolder, startTestServer, type TestServer } from "./support.ts";

const PERMIT = `\n@id("app")\npermit (principal == Workload::"app", action == Action::"checkoutSecret", resource);\n`;

async function prepared(): Promise<VaultPeer | undefined> {
  const peer = await startVault("openbao");
  for (const [path, body] of [
    ["sys/mounts/kv", { type: "kv" }],
    ["sys/mounts/lent", { type: "leased" }],
    ["kv/app", { OPENAI_API_KEY: "sk-canary-kv", port: 5432 }],
    ["lent/role", { value: "sk-canary-lent", ttl: "300s" }],
  ] as const)
    assert.equal((await peer?.ask("POST", path, body))?.status ?? 204, 204);
  return peer;
}

/** `value` is in a string for the time of the test. */
async function taken(connection: Awaited<ReturnType<TestServer["workload"]>>, name: string): Promise<string> {
  await using key = await connection.checkOut(name);
  return key.use((bytes) => Buffer.from(bytes).toString());
}

test("secrets that stay in OpenBao are leased, shared, and given back; nothing of them is on the server's disk or in its log", async (t) => {
  const peer = await prepared();
  if (!peer) return t.skip(NO_OPENBAO);
  process.env.VAULT_TOKEN = peer.rootToken;
  const flags = { secret_drivers: [`bao=vault://${peer.host}?insecure-http=1`] };
  const server = await startTestServer({ flags });
  try {
    const { api } = server.admin;
    const { text, version } = await api.call(getPolicy, {});
    await api.call(setPolicy, { body: { text: text + PERMIT, if_version: version } });
    for (const [name, reference] of [
      ["kv", "kv/app#OPENAI_API_KEY"],
      ["lent", "lent/role#value"],
      ["gone", "kv/no#x"],
    ] as const)
      await api.call(linkSecret, { params: { name }, body: { driver: "bao", reference } });
    const { secrets } = await api.call(listSecrets, {});
    assert.deepEqual(
      secrets.map(({ versions }) => versions[0]?.driver),
      ["bao", "bao", "bao"],
    );
    assert.equal(
      await codeOf(() => api.call(linkSecret, { params: { name: "x" }, body: { driver: "bao", reference: "../x" } })),
      "SECRET_REFERENCE_INVALID",
    );
    const app = await server.workload("app");
    assert.equal(await taken(app, "kv"), "sk-canary-kv");
    assert.equal(await taken(app, "lent"), "sk-canary-lent");
    assert.equal(await codeOf(() => taken(app, "gone")), "SECRET_NOT_FOUND");
    for (let tries = 0; (await peer.ask("LIST", "sys/leases/lookup/lent/role/")).status !== 404; tries++) {
      assert.ok(tries < 100, "the lease is not given back");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.ok(!server.lines.join("\n").includes("sk-canary"));
    for (const entry of readdirSync(server.folder, { recursive: true, withFileTypes: true }))
      if (entry.isFile())
        assert.ok(!readFileSync(join(entry.parentPath, entry.name)).includes("sk-canary"), entry.name);
  } finally {
    await server.stop();
  }
});

test("a key that was changed in OpenBao is the gateway's within half a minute, and no request fails meanwhile", async (t) => {
  const peer = await prepared();
  if (!peer) return t.skip(NO_OPENBAO);
  process.env.VAULT_TOKEN = peer.rootToken;
  const seen: string[] = [];
  const upstream = createHttpServer((request, response) => {
    seen.push(request.headers.authorization ?? "");
    request.resume().on("end", () => response.end('{"choices":[]}'));
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  t.after(() => upstream.close());
  const at = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1`;
  const flags = { secret_drivers: [`bao=vault://${peer.host}?insecure-http=1`] };
  const server = await startTestServer({ flags });
  t.after(() => server.stop());
  const { api } = server.admin;
  const { text, version } = await api.call(getPolicy, {});
  const rule = `permit (principal == Workload::"w", action == Action::"useModel", resource == ProviderModel::"local/m");\n`;
  await api.call(setPolicy, { body: { text: `${text}\n${rule}`, if_version: version } });
  const reference = "kv/app#OPENAI_API_KEY";
  await api.call(linkSecret, { params: { name: "openai" }, body: { driver: "bao", reference } });
  const provider = { base_url: at, secret: "openai", models: ["m"] };
  await api.call(setProvider, { params: { name: "local" }, body: provider });
  const app = await server.workload("w");
  const ask = async () => {
    const init = { method: "POST", headers: { "content-type": "application/json" } };
    const answer = await app.fetch(`${server.server.url}/v1/chat/completions`, {
      ...init,
      body: JSON.stringify({ model: "m", messages: [] }),
    });
    assert.equal(answer.status, 200, await answer.text());
    return seen.at(-1);
  };
  assert.equal(await ask(), "Bearer sk-canary-kv");
  await peer.ask("POST", "kv/app", { OPENAI_API_KEY: "sk-canary-second" });
  const changed = performance.now();
  while ((await ask()) !== "Bearer sk-canary-second") {
    assert.ok(performance.now() - changed < 60_000, "it is not noticed");
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const seconds = (performance.now() - changed) / 1000;
  t.diagnostic(`noticed after ${seconds.toFixed(1)} s, ${seen.length} requests`);
  assert.ok(seconds < 35, `${seconds} seconds`);
});

test("a provider finds the server's keys by discovery and gives a token, also after a rotation", async () => {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const provider = await startFederation(issuer, "modelkeep:oa");
  const flags = {
    listen: `127.0.0.1:${port}`,
    public_url: issuer,
    secret_drivers: [`oa=federation:openai?provider=idp_1&at=${provider.origin}`],
  };
  const server = await startTestServer({ flags });
  try {
    const { api } = server.admin;
    const { text, version } = await api.call(getPolicy, {});
    await api.call(setPolicy, { body: { text: text + PERMIT, if_version: version } });
    await api.call(linkSecret, { params: { name: "openai" }, body: { driver: "oa", reference: "svc_acct_1" } });
    const app = await server.workload("app");
    assert.ok(provider.given.has(await taken(app, "openai")));
    const { keys } = await api.call(rotateIdentityKey, { body: {} });
    assert.deepEqual(
      keys.map(({ alg }) => alg),
      ["ES256", "ES256", "RS256", "RS256"],
      "what the first ones signed is believed",
    );
    assert.ok(provider.given.has(await taken(app, "openai")));
    assert.equal(provider.claims.length, 2);
    assert.equal(await codeOf(() => app.api.call(rotateIdentityKey, { body: {} })), "FORBIDDEN");
  } finally {
    await server.stop();
  }
});

test("the command line imports a path of OpenBao, and what was wrapped for it, once", async (t) => {
  const peer = await prepared();
  if (!peer) return t.skip(NO_OPENBAO);
  const stage = new Stage();
  try {
    await stage.setUp(["server"]);
    stage.names.set("VAULT_TOKEN", peer.rootToken);
    const at = (path: string) => `'vault://${peer.host}${path}?insecure-http=1'`;
    const dry = await stage.shell(`modelkeep secret import ${at("/kv/app")} --prefix app/ --dry-run`);
    assert.equal(dry.stdout, "app/OPENAI_API_KEY  would be imported\napp/port  would be imported\n");
    const done = await stage.shell(`modelkeep secret import ${at("/kv/app")} --prefix app/ --only OPENAI_API_KEY`);
    assert.deepEqual([done.code, done.stdout], [0, "app/OPENAI_API_KEY  imported\n"]);
    const lent = await stage.shell(`modelkeep secret import ${at("/lent/role")}`);
    assert.equal(lent.code, 2, "what ends is not copied");
    const wrap = await fetch(`${peer.origin}/v1/kv/app`, {
      headers: { "x-vault-token": peer.rootToken, "x-vault-wrap-ttl": "60s" },
    });
    const { wrap_info: info } = (await wrap.json()) as { wrap_info: { token: string } };
    const line = `modelkeep secret import ${at("")} --wrapped-token-file - --prefix w/`;
    const foreign = await stage.shell(`${line} --wrapped-from kv/other`, { stdin: `${info.token}\n` });
    assert.equal(foreign.code, 4, "made elsewhere");
    const opened = await stage.shell(`${line} --wrapped-from kv/app`, { stdin: `${info.token}\n` });
    assert.deepEqual([opened.code, opened.stdout], [0, "w/OPENAI_API_KEY  imported\nw/port  imported\n"]);
    const again = await stage.shell(`${line} --wrapped-from kv/app`, { stdin: `${info.token}\n` });
    assert.equal(again.code, 4, "used before");
    for (const { stdout, stderr } of [dry, done, lent, foreign, opened, again])
      assert.ok(![info.token, peer.rootToken, "sk-canary"].some((secret) => `${stdout}${stderr}`.includes(secret)));
  } finally {
    await stage.end();
  }
});

test("drivers of the configuration: from the environment, and a server that cannot have one does not start", async () => {
  const env = { HOME: newFolder(), MODELKEEP_SECRET_DRIVERS: "a=vault://vault.example,b=awssm://eu-central-1" };
  const { config, origins } = await loadConfig({ env, flags: {} });
  assert.deepEqual(config.secret_drivers, ["a=vault://vault.example", "b=awssm://eu-central-1"]);
  assert.equal(origins.secret_drivers, "env MODELKEEP_SECRET_DRIVERS");
  delete process.env.VAULT_TOKEN;
  for (const [entry, code] of [
    ["vault://vault.example", "KEEPER_UNKNOWN"],
    ["a=vault://vault.example", "KEEPER_LOGIN_MISSING"],
    ["a=federation:openai?provider=x", "KEEPER_UNKNOWN"],
  ] as const)
    assert.equal(await codeOf(() => startTestServer({ flags: { secret_drivers: [entry] } })), code, entry);
});

test("a server logs in by a wrapped secret id, which it opens at its start, once; a foreign or used one stops it", async (t) => {
  const peer = await prepared();
  if (!peer) return t.skip(NO_OPENBAO);
  await peer.ask("PUT", "sys/policies/acl/all", { policy: 'path "*" { capabilities = ["read", "update", "list"] }' });
  await peer.ask("POST", "auth/approle/role/server", { token_policies: "all", token_ttl: "1h" });
  const role = await peer.ask("GET", "auth/approle/role/server/role-id");
  const wrapped = async (path: string, method = "POST"): Promise<string> => {
    const headers = { "x-vault-token": peer.rootToken, "x-vault-wrap-ttl": "60s" };
    const body = method === "POST" ? JSON.stringify({ secret_id: "forged" }) : null;
    const answer = await fetch(`${peer.origin}/v1/${path}`, { method, headers, body });
    return ((await answer.json()) as { wrap_info: { token: string } }).wrap_info.token;
  };
  const file = join(newFolder(), "wrapped");
  const login = { VAULT_ROLE_ID: role.body.data.role_id, VAULT_WRAPPED_SECRET_ID_FILE: file };
  const uri = `vault://${peer.host}?insecure-http=1`;
  const flags = { secret_drivers: [`bao=${uri}`, `again=${uri}`] };
  const before = { ...process.env };
  delete process.env.VAULT_TOKEN;
  Object.assign(process.env, login);
  t.after(() => {
    process.env = before;
  });
  for (const [path, method] of [
    ["sys/wrapping/wrap", "POST"],
    ["auth/approle/role/server/role-id", "GET"],
  ] as const) {
    writeFileSync(file, await wrapped(path, method), { mode: 0o600 });
    assert.equal(await codeOf(() => startTestServer({ flags })), "WRAPPING_TOKEN_USED", path);
  }
  const stolen = await wrapped("auth/approle/role/server/secret-id");
  await fetch(`${peer.origin}/v1/sys/wrapping/unwrap`, { method: "POST", headers: { "x-vault-token": stolen } });
  writeFileSync(file, stolen);
  assert.equal(await codeOf(() => startTestServer({ flags })), "WRAPPING_TOKEN_USED", "somebody was faster");

  const token = await wrapped("auth/approle/role/server/secret-id");
  writeFileSync(file, `${token}\n`);
  const server = await startTestServer({ flags });
  t.after(() => server.stop());
  const lookup = await peer.ask("POST", "sys/wrapping/lookup", { token });
  assert.notEqual(lookup.status, 200, "it is opened before anybody asks for a secret");
  const { api } = server.admin;
  const { text, version } = await api.call(getPolicy, {});
  await api.call(setPolicy, { body: { text: text + PERMIT, if_version: version } });
  for (const driver of ["bao", "again"])
    await api.call(linkSecret, { params: { name: driver }, body: { driver, reference: "kv/app#OPENAI_API_KEY" } });
  const app = await server.workload("app");
  assert.equal(await taken(app, "bao"), "sk-canary-kv");
  assert.equal(await taken(app, "again"), "sk-canary-kv");
  assert.ok(!server.lines.join("\n").includes(token));
});
