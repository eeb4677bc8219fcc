/** Callers who may do one thing and try another with it, against a whole server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Hono } from "hono";
import { silentLog } from "../../src/base/index.ts";
import * as contract from "../../src/contract/index.ts";
import { systemClock } from "../../src/host/index.ts";
import { DEFAULT_POLICY } from "../../src/policy/index.ts";
import { createApp } from "../../src/server/app.ts";
import { authenticated } from "../../src/server/handler.ts";
import { SERVER_LIMITS } from "../../src/server/limits.ts";
import { Metrics } from "../../src/server/metrics.ts";
import { startTestServer } from "./support.ts";

test("who may set providers cannot have any secret sent to an address of his own", async (t) => {
  const { admin, workload, stop } = await startTestServer();
  t.after(stop);
  const front = await workload("front", ["front"]);
  const grants = `
    @id("front-providers") permit (principal in Group::"front", action == Action::"manageProvider", resource);
    @id("front-key") permit (principal in Group::"front", action == Action::"manageSecret", resource == Secret::"openai");
    @id("front-uses") permit (principal in Group::"front", action == Action::"useModel", resource);`;
  await admin.api.call(contract.setPolicy, { body: { text: DEFAULT_POLICY + grants } });
  const set = (secret: string) =>
    front.api.call(contract.setProvider, {
      params: { name: "mine" },
      body: { base_url: "http://127.0.0.1:9/v1", secret, models: ["m"] },
    });
  await assert.rejects(set("db-password"), { code: "FORBIDDEN" });
  const { providers } = await admin.api.call(contract.listProviders, {});
  assert.deepEqual(providers, []);
  assert.equal((await set("openai")).secret, "openai");
  await assert.rejects(front.api.call(contract.listSecrets, {}), { code: "FORBIDDEN" });
});

test("one principal cannot keep the API busy for all others", async () => {
  const gate = Promise.withResolvers<void>();
  const info = { version: "0", node: "", store: "", guarded_memory: "", attestation: [], insecure: [] };
  const slow = authenticated(contract.serverInfo, async () => gate.promise.then(() => info));
  const app = createApp({
    implementations: [slow],
    oauth: new Hono(),
    authenticate: async ({ authorization = "" }) => ({
      principal: { type: "Workload", id: authorization },
      groups: [],
      tokenId: "t",
      expiresAt: 0,
      keyThumbprint: "k",
    }),
    async ready() {},
    origins: () => new Set(["http://127.0.0.1:8420"]),
    scheme: "http",
    metrics: new Metrics(),
    clock: systemClock,
    log: silentLog,
    version: "0",
  });
  const ask = (authorization: string) =>
    app.request("http://127.0.0.1:8420/api/v1/server", { headers: { host: "127.0.0.1:8420", authorization } });
  const room = SERVER_LIMITS.principalConcurrentRequests;
  const running = Array.from({ length: room }, () => ask("greedy"));
  await new Promise((resolve) => setImmediate(resolve));
  const refused = await ask("greedy");
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  assert.equal(((await refused.json()) as { code: string }).code, "PRINCIPAL_CONCURRENCY_LIMITED");
  const other = ask("other");
  gate.resolve();
  const answers = await Promise.all([...running, other]);
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  assert.equal((await ask("greedy")).status, 200);
});
