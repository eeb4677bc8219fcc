/** The whole server: what it binds, what it tells, how it ends, and what a thief of its disk finds. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, globSync, readFileSync, rmSync, statSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import * as contract from "../../src/contract/index.ts";
import type { Connection } from "../../src/sdk/index.ts";
import { sealValue } from "../../src/secrets/index.ts";
import { startServer } from "../../src/server/server.ts";
import { configOf, newFolder, startTestServer, type TestServer } from "./support.ts";

async function put(keep: TestServer, name: string, value: Uint8Array): Promise<void> {
  const key = await keep.admin.api.call(contract.getTransportKey, {});
  const receiver = { keyId: key.key_id, publicKey: key.public_key };
  const sealed = sealValue(value, receiver, { direction: "put", name });
  await keep.admin.api.call(contract.putSecret, {
    params: { name },
    body: { sealed: { key_id: sealed.keyId, enc: sealed.enc, ciphertext: sealed.ciphertext } },
  });
}

/** A provider that answers every request and shows the key it was given. */
async function startProvider(
  t: { after(end: () => void): void },
  delayMs = 0,
): Promise<{ url: string; keys: string[] }> {
  const keys: string[] = [];
  const server = http.createServer((req, res) => {
    keys.push(String(req.headers.authorization));
    req.resume().on("end", async () => {
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify({ choices: [{ message: { content: `your key was ${req.headers.authorization}` } }] }));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const address = server.address();
  return { url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/v1`, keys };
}

/** The provider `local` with the model `m`, and a workload that may use it. */
async function useProvider(keep: TestServer, baseUrl: string, value: string): Promise<Connection> {
  await put(keep, "canary", Buffer.from(value));
  await keep.admin.api.call(contract.setProvider, {
    params: { name: "local" },
    body: { base_url: baseUrl, secret: "canary", models: ["m"] },
  });
  const { text, version } = await keep.admin.api.call(contract.getPolicy, {});
  const rule =
    'permit (principal == Workload::"w", action == Action::"useModel", resource == ProviderModel::"local/m");';
  await keep.admin.api.call(contract.setPolicy, { body: { text: `${text}\n${rule}\n`, if_version: version } });
  return keep.workload("w");
}

function ask(keep: TestServer, workload: Connection): Promise<Response> {
  return workload.fetch(`${keep.server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "m", messages: [] }),
  });
}

test("probes, metrics and OpenAPI answer without a token, the API does not", async (t) => {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const get = (path: string) => fetch(keep.server.url + path);
  assert.equal(await (await get("/healthz")).text(), "ok\n");
  assert.equal(await (await get("/readyz")).text(), "ready\n");
  const metrics = await (await get("/metrics")).text();
  assert.match(metrics, /^modelkeep_http_requests_total\{method="GET",status="200"\} \d+$/m);
  const foreign = http.get(`${keep.server.url}/metrics`, { headers: { host: "attacker.example" } });
  const [refused] = (await once(foreign, "response")) as [http.IncomingMessage];
  assert.equal(refused.resume().statusCode, 421);
  const openapi = (await (await get("/openapi.json")).json()) as { paths: Record<string, unknown> };
  for (const path of ["/api/v1/models", "/api/v1/releases", "/api/v1/secrets/{name}", "/api/v1/policy"])
    assert.ok(openapi.paths[path], path);
  for (const path of ["/api/v1/server", "/api/v1/secrets", "/api/v1/models", "/api/v1/policy"])
    assert.equal((await get(path)).status, 401, path);
  const info = await keep.admin.api.call(contract.serverInfo, {});
  assert.deepEqual(info.insecure, []);
  assert.equal(info.store, "sqlite");
});

test("it listens on loopback, and refuses another address without TLS or a public URL", async () => {
  const config = await configOf(newFolder());
  assert.match(config.listen, /^127\.0\.0\.1:/);
  await assert.rejects(configOf(newFolder(), { listen: "0.0.0.0:0" }), { code: "CONFIG_INVALID" });
  const plain = { listen: "0.0.0.0:0", public_url: "http://keep.example" };
  await assert.rejects(configOf(newFolder(), plain), { code: "CONFIG_INVALID" });
});

test("the first administrator's code is used once, is not printed when it goes to a file, and never comes again", async (t) => {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const path = join(keep.folder, "code");
  const code = readFileSync(path, "utf8").trim();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.ok(!keep.said.join("").includes(code) && !keep.lines.join("").includes(code));
  const { enrol } = await import("../../src/sdk/index.ts");
  await assert.rejects(enrol({ serverUrl: keep.server.url, code }), { code: "ENROLMENT_REFUSED" });
});

test("a code file that exists already is not overwritten, and the server does not start", async () => {
  const folder = newFolder();
  const config = await configOf(folder);
  const bootstrapCodeFile = join(folder, "there");
  execFileSync("sh", ["-c", `echo mine > ${bootstrapCodeFile}`]);
  const options = { config, version: "0", writeLog() {}, talk() {}, bootstrapCodeFile };
  await assert.rejects(startServer(options), { code: "FILE_UNWRITABLE" });
  assert.equal(readFileSync(bootstrapCodeFile, "utf8"), "mine\n");
  rmSync(folder, { recursive: true });
});

test("a request that is under way is answered before the server ends; one that never comes whole is cut", async (t) => {
  const provider = await startProvider(t, 400);
  const keep = await startTestServer({ flags: { shutdown_seconds: 1 } });
  const workload = await useProvider(keep, provider.url, "sk-slow-0123456789abcdef");
  const { port } = new URL(keep.server.url);
  const slow = connectSocket(Number(port), "127.0.0.1");
  await once(slow, "connect");
  slow.on("error", () => undefined).resume();
  slow.write("POST /api/v1/secrets HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
  const closed = once(slow, "close");
  const asked = ask(keep, workload);
  while (provider.keys.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const started = performance.now();
  await keep.stop();
  await closed;
  assert.equal((await asked).status, 200);
  assert.ok(performance.now() - started < 10_000);
  await assert.rejects(fetch(`${keep.server.url}/healthz`));
});

test("TLS: the certificate of the configuration, no older version than 1.2, tokens bound to the https address", async (t) => {
  const folder = newFolder();
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  execFileSync("openssl", [...made, ...subject, "-keyout", key, "-out", cert], { stdio: "ignore" });
  const ca = readFileSync(cert);
  const { Agent, fetch: undiciFetch } = await import("undici");
  const dispatcher = new Agent({ connect: { ca } });
  const trusting = ((url: string, init: object) =>
    undiciFetch(url, { ...init, dispatcher })) as unknown as typeof fetch;
  const keep = await startTestServer({ flags: { tls_certificate: cert, tls_key: key }, fetch: trusting });
  t.after(async () => {
    await dispatcher.close();
    await keep.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  assert.match(keep.server.url, /^https:/);
  assert.equal((await keep.admin.api.call(contract.serverInfo, {})).version, "0.0.0-test");
  const { port } = new URL(keep.server.url);
  const old = https.get({
    port,
    host: "127.0.0.1",
    ca,
    maxVersion: "TLSv1.1",
    minVersion: "TLSv1.1",
    path: "/healthz",
  });
  const [error] = await once(old, "error");
  assert.ok(error instanceof Error);
});

test("a day of use, then every byte of the disk, the log and the record is read: no secret, no token, no code", async (t) => {
  const provider = await startProvider(t);
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const value = `sk-canary-${randomBytes(24).toString("hex")}`;
  const workload = await useProvider(keep, provider.url, value);
  const answers: string[] = [];
  for (let i = 0; i < 20; i++) answers.push(await (await ask(keep, workload)).text());
  assert.equal(provider.keys.length, 20);
  assert.ok(provider.keys.every((sent) => sent === `Bearer ${value}`));
  assert.ok(answers.every((answer) => answer.includes("your key was") && !answer.includes(value)));
  await put(keep, "canary", Buffer.from(`${value}-next`));
  await keep.server.close();
  const tokens = [...(await sentTokens(workload))];
  const needles = [value, ...tokens, readFileSync(join(keep.folder, "code"), "utf8").trim()].flatMap(formsOf);
  rmSync(join(keep.folder, "code"));
  const files = globSync("**/*", { cwd: keep.folder }).filter((path) => statSync(join(keep.folder, path)).isFile());
  assert.ok(files.some((path) => path.endsWith("modelkeep.db")));
  for (const path of files) {
    const bytes = readFileSync(join(keep.folder, path));
    for (const needle of needles) assert.equal(bytes.indexOf(needle), -1, `${path} holds a secret`);
  }
  const log = Buffer.from(keep.lines.join(""));
  assert.ok(log.length > 1000);
  for (const needle of needles) assert.equal(log.indexOf(needle), -1, "the log holds a secret");
});

/** The access token that the workload uses now. */
async function sentTokens(workload: Connection): Promise<string[]> {
  const { authorization } = await workload.session
    .prove("GET", `${workload.session.serverUrl}/x`)
    .catch(() => ({ authorization: "DPoP mkt_0" }));
  return [authorization.replace("DPoP ", "")].filter((token) => token.length > 20);
}

function formsOf(text: string): Buffer[] {
  const bytes = Buffer.from(text);
  return [
    bytes,
    Buffer.from(bytes.toString("base64")),
    Buffer.from(bytes.toString("hex")),
    Buffer.from(text, "utf16le"),
  ];
}

test("the root key lies apart from the database, mode 0600, and another one opens nothing", async () => {
  const keep = await startTestServer();
  const rootKey = join(keep.folder, "config", "modelkeep", "root.key");
  assert.equal(statSync(rootKey).mode & 0o777, 0o600);
  assert.ok(existsSync(join(keep.folder, "data", "modelkeep", "server", "modelkeep.db")));
  await keep.server.close();
  rmSync(rootKey);
  const config = await configOf(keep.folder);
  const options = { config, version: "0", writeLog() {}, talk() {} };
  await assert.rejects(startServer(options), { code: "STORE_TAMPERED" });
  rmSync(keep.folder, { recursive: true });
});
