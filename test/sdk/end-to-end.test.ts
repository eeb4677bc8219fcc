/** A whole server, the real command line, and the unmodified OpenAI client as the application that must see no secret. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import * as contract from "../../src/contract/index.ts";
import { sealValue } from "../../src/secrets/index.ts";
import { CANARY, createUpstream, listen } from "../gateway/support.ts";
import { startTestServer, type TestServer } from "../server/support.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Tells everything that it can find about itself and its parent, and then uses the model. */
const APPLICATION = `
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import OpenAI from "openai";
const read = (path) => { try { return readFileSync(path, "utf8"); } catch { return ""; } };
const seen = { env: process.env, argv: process.argv, own: read("/proc/self/environ"), parent: read("/proc/" + process.ppid + "/cmdline") };
seen.files = readdirSync("/proc/self/fd").map((fd) => { try { return readlinkSync("/proc/self/fd/" + fd); } catch { return ""; } });
const client = new OpenAI();
const messages = [{ role: "user", content: "hi" }];
const whole = await client.chat.completions.create({ model: "local/small", messages });
const parts = [];
for await (const part of await client.chat.completions.create({ model: "local/stream", messages, stream: true })) parts.push(part.choices[0]?.delta.content ?? "");
const denied = await client.chat.completions.create({ model: "local/secret-model", messages }).catch((error) => error.status);
const stolen = await new OpenAI({ apiKey: "mka_" + "A".repeat(43), maxRetries: 0 }).models.list().catch((error) => error.status);
process.stdout.write(JSON.stringify({ seen, whole: whole.choices[0].message.content, parts, denied, stolen }));
`;

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function modelkeep(keep: TestServer, words: string[], options: { env?: object; input?: string; kill?: boolean } = {}) {
  const env = {
    PATH: process.env.PATH,
    HOME: keep.folder,
    XDG_CONFIG_HOME: join(keep.folder, "client"),
    ...options.env,
  };
  const child = spawn(process.execPath, [join(root, "bin/modelkeep.mjs"), ...words], { cwd: root, env });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk) => {
    if (out === "" && options.kill) child.kill("SIGTERM");
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  child.stdin.end(options.input ?? "");
  return new Promise<Ran>((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

async function start(t: TestContext) {
  const keep = await startTestServer();
  const upstream = createUpstream();
  const port = await listen(upstream.server);
  t.after(async () => {
    await keep.stop();
    upstream.server.closeAllConnections();
    upstream.server.close();
  });
  const { api } = keep.admin;
  const key = await api.call(contract.getTransportKey, {});
  const receiver = { keyId: key.key_id, publicKey: key.public_key };
  const sealed = sealValue(Buffer.from(CANARY), receiver, { direction: "put", name: "canary" });
  const body = { sealed: { key_id: sealed.keyId, enc: sealed.enc, ciphertext: sealed.ciphertext } };
  await api.call(contract.putSecret, { params: { name: "canary" }, body });
  const models = ["small", "stream", "secret-model"];
  const provider = { base_url: `http://127.0.0.1:${port}/v1`, secret: "canary", models };
  await api.call(contract.setProvider, { params: { name: "local" }, body: provider });
  const { text } = await api.call(contract.getPolicy, {});
  const rules = ["small", "stream"].map(
    (model) => `permit (principal, action == Action::"useModel", resource == ProviderModel::"local/${model}");`,
  );
  await api.call(contract.setPolicy, { body: { text: [text, ...rules].join("\n") } });
  const { code } = await api.call(contract.issueEnrolment, { body: { workload: "billing" } });
  const codeFile = join(keep.folder, "billing-code");
  writeFileSync(codeFile, `${code}\n`, { mode: 0o600 });
  return { keep, api, code, codeFile, upstream, server: ["--server", keep.server.url] };
}

test("the application talks to the model by the OpenAI client, and finds no token, key or code anywhere", async (t) => {
  const { keep, code, codeFile, upstream, server } = await start(t);
  const words = ["agent", "--as", "billing", "--enrol-code-file", codeFile, ...server, "--", process.execPath];
  const parent = { OPENAI_API_KEY: "sk-parents-own-key-000000", ANTHROPIC_API_KEY: "sk-ant-parents-own-key" };
  const ran = await modelkeep(keep, [...words, "--input-type=module", "-e", APPLICATION], { env: parent });
  assert.equal(ran.code, 0, ran.err);
  const told = JSON.parse(ran.out);
  assert.equal(told.whole, "hello");
  assert.deepEqual(told.parts.slice(0, 4), ["a", "b", "c", "d"]);
  assert.deepEqual([told.denied, told.stolen], [403, 401]);
  assert.equal(upstream.seen.length, 2);
  assert.equal(upstream.seen[0]?.headers.authorization, `Bearer ${CANARY}`);
  assert.match(told.seen.env.OPENAI_BASE_URL, /^http:\/\/127\.0\.0\.1:\d+\/v1$/);
  const [file = ""] = credentialFiles(keep);
  const { d } = JSON.parse(readFileSync(file, "utf8")).key;
  for (const secret of ["mkt_", "mkc_", code, d, CANARY, "parents-own-key"])
    assert.ok(!ran.out.includes(secret), secret);
  assert.ok(!keep.lines.join("").includes(code) && !keep.lines.join("").includes("mkt_"));
});

function credentialFiles(keep: TestServer): string[] {
  const folder = join(keep.folder, "client", "modelkeep", "credentials");
  return ["workload-billing-0c95c7ece1ce.json", "login.json"].map((name) => join(folder, name)).filter(existsSync);
}

test("the second start needs no code; the exit code and a signal are the program's; a revocation ends it", async (t) => {
  const { keep, api, codeFile, server } = await start(t);
  const words = ["agent", "--as", "billing", "--enrol-code-file", codeFile];
  assert.equal((await modelkeep(keep, [...words, ...server, "--", "sh", "-c", "exit 7"])).code, 7);
  writeFileSync(codeFile, "mkc_used-and-gone\n");
  assert.equal((await modelkeep(keep, [...words, "--", "sh", "-c", "kill -9 $$"])).code, 137);
  const program = "trap 'echo stopped; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
  const stopped = await modelkeep(keep, [...words, "--", "sh", "-c", program], { kill: true });
  assert.deepEqual([stopped.out, stopped.code], ["ready\nstopped\n", 3]);
  assert.equal((await modelkeep(keep, [...words, "--", "/nonexistent/program"])).code, 2);
  await api.call(contract.revokeToken, { body: { principal: { type: "Workload", id: "billing" } } });
  const refused = await modelkeep(keep, [...words, "--", "true"]);
  assert.equal(refused.code, 3);
  const unknown = await modelkeep(keep, ["agent", "--as", "nobody", "--json", "--", "true"]);
  assert.equal(JSON.parse(unknown.out).code, "NOT_LOGGED_IN");
});

test("a code for another workload, and a server in the clear", async (t) => {
  const { keep, codeFile, server } = await start(t);
  const as = (name: string, ...more: string[]) =>
    modelkeep(keep, ["agent", "--as", name, "--json", ...more, "--", "true"]);
  const codeOf = (ran: Ran) => JSON.parse(ran.out).code;
  const far = ["--enrol-code-file", codeFile, "--server", "http://keep.example.com"];
  assert.equal(codeOf(await as("billing", ...far)), "USAGE");
  assert.equal(codeOf(await as("other", "--enrol-code-file", codeFile, ...server)), "PRINCIPAL_MISMATCH");
  assert.deepEqual(credentialFiles(keep), []);
});
