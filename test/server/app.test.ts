/** The HTTP application: hostile hosts, bodies, tokens and exceptions get a problem document and nothing else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Hono } from "hono";
import { z } from "zod";
import { type Caller, silentLog } from "../../src/base/index.ts";
import { defineRoute } from "../../src/contract/index.ts";
import { systemClock } from "../../src/host/index.ts";
import { createApp } from "../../src/server/app.ts";
import { authenticated, open } from "../../src/server/handler.ts";
import { Metrics } from "../../src/server/metrics.ts";
import { tokenError } from "../../src/tokens/errors.ts";

const echo = defineRoute({
  id: "echo",
  method: "POST",
  path: "/api/v1/echo/{name}",
  about: "Echo.",
  auth: "none",
  body: z.strictObject({ n: z.int() }),
  reply: z.object({ name: z.string(), n: z.int() }),
  maxBodyBytes: 100,
});
const crash = defineRoute({
  id: "crash",
  method: "GET",
  path: "/api/v1/crash",
  about: "Crash.",
  auth: "none",
  body: z.object({}),
  reply: z.object({}),
});
const secret = defineRoute({
  id: "secret",
  method: "GET",
  path: "/api/v1/secret",
  about: "Secret.",
  auth: "token",
  body: z.object({ q: z.string().optional() }),
  reply: z.object({ who: z.string() }),
});
const caller: Caller = {
  principal: { type: "Workload", id: "w" },
  groups: [],
  tokenId: "t",
  expiresAt: 0,
  keyThumbprint: "k",
};
const seen: string[] = [];
const app = createApp({
  implementations: [
    open(echo, async ({ params, body }) => ({ name: params.name ?? "", n: body.n })),
    open(crash, async () => {
      throw new Error("the database password is hunter2");
    }),
    authenticated(secret, async (_request, who) => ({ who: who.principal.id })),
  ],
  oauth: new Hono(),
  async authenticate({ authorization, url }) {
    seen.push(url);
    if (authorization !== "DPoP good") throw tokenError("TOKEN_REFUSED");
    return caller;
  },
  async ready() {},
  origins: () => new Set(["http://127.0.0.1:8420"]),
  scheme: "http",
  metrics: new Metrics(),
  clock: systemClock,
  log: silentLog,
  version: "0",
});
const ask = (path: string, init: RequestInit = {}, host = "127.0.0.1:8420") =>
  app.request(`http://127.0.0.1:8420${path}`, { ...init, headers: { host, ...init.headers } });
const post = (body: string) =>
  ask("/api/v1/echo/a%2Fb", { method: "POST", body, headers: { "content-type": "application/json" } });
const code = async (response: Response) => ((await response.json()) as { code: string }).code;

test("a good request is answered, with parameters decoded", async () => {
  const response = await post('{"n":1}');
  assert.deepEqual(await response.json(), { name: "a/b", n: 1 });
  assert.equal(response.headers.get("cache-control"), "no-store");
});

test("bad bodies are named problems", async () => {
  const cases: [string, number, string][] = [
    ["{", 400, "INVALID_JSON"],
    ['{"n":1,"n":2}', 400, "INVALID_JSON"],
    ['{"n":"1"}', 400, "INVALID_BODY"],
    ['{"n":1,"m":2}', 400, "INVALID_BODY"],
    ["", 400, "INVALID_BODY"],
    [`{"n":1,"x":"${"y".repeat(200)}"}`, 413, "BODY_TOO_LARGE"],
  ];
  for (const [body, status, expected] of cases) {
    const response = await post(body);
    assert.deepEqual([response.status, await code(response)], [status, expected], body);
    assert.equal(response.headers.get("content-type"), "application/problem+json");
  }
});

test("another host name is refused before anything runs: DNS rebinding", async () => {
  for (const host of ["evil.example", "127.0.0.1:9", "", "127.0.0.1:8420.evil.example"]) {
    assert.equal((await ask("/api/v1/crash", {}, host)).status, 421, host);
  }
});

test("an unknown exception says INTERNAL and nothing else", async () => {
  const response = await ask("/api/v1/crash");
  const text = await response.text();
  assert.equal(response.status, 500);
  assert.ok(!text.includes("hunter2") && text.includes("INTERNAL"), text);
});

test("no token, no answer; the proof's URL is the one the client used", async () => {
  const refused = await ask("/api/v1/secret?q=1");
  assert.deepEqual([refused.status, await code(refused)], [401, "TOKEN_REFUSED"]);
  assert.match(refused.headers.get("www-authenticate") ?? "", /^DPoP/);
  const allowed = await ask("/api/v1/secret?q=1", { headers: { authorization: "DPoP good" } });
  assert.deepEqual(await allowed.json(), { who: "w" });
  assert.equal(seen.at(-1), "http://127.0.0.1:8420/api/v1/secret?q=1");
});

test("unknown routes, probes, metrics, OpenAPI", async () => {
  assert.equal(await code(await ask("/nothing")), "NO_SUCH_ROUTE");
  assert.equal((await ask("/healthz", {}, "10.0.0.1")).status, 200);
  assert.equal((await ask("/readyz")).status, 200);
  assert.match(await (await ask("/metrics")).text(), /modelkeep_http_requests_total\{method="GET",status="200"\} \d+/);
  const document = (await (await ask("/openapi.json")).json()) as { openapi: string; paths: Record<string, unknown> };
  assert.equal(document.openapi, "3.1.0");
  assert.deepEqual(Object.keys(document.paths), ["/api/v1/echo/{name}", "/api/v1/crash", "/api/v1/secret"]);
});
