/** The gateway between honest clients and a provider that works: what passes, what does not, who may. */
import assert from "node:assert/strict";
import * as http from "node:http";
import { test } from "node:test";
import OpenAI from "openai";
import { prepareEvent } from "../../src/audit/entry.ts";
import { utf8 } from "../../src/base/index.ts";
import { ask, by, CANARY, codeOf, startAll, TOKEN } from "./support.ts";

const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

test("the unmodified openai client works, whole and streamed", async (t) => {
  const { port, upstream, recorder, gateway } = await startAll(t);
  const client = new OpenAI({ apiKey: TOKEN, baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 });
  const messages = [{ role: "user" as const, content: "hi" }];
  const whole = await client.chat.completions.create({ model: "test/small", messages });
  assert.equal(whole.choices[0]?.message.content, "hello");
  const words: string[] = [];
  for await (const chunk of await client.chat.completions.create({ model: "stream", messages, stream: true })) {
    words.push(chunk.choices[0]?.delta.content ?? "");
  }
  assert.equal(words.join(""), "abcd");
  const models = await client.models.list();
  assert.ok(models.data.some((model) => model.id === "test/small"));
  assert.ok(!models.data.some((model) => model.id === "test/secret-model"));
  await assert.rejects(
    client.chat.completions.create({ model: "secret-model", messages }),
    OpenAI.PermissionDeniedError,
  );
  const wrong = new OpenAI({ apiKey: "wrong", baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 });
  await assert.rejects(wrong.models.list(), OpenAI.AuthenticationError);
  const [first] = upstream.seen;
  assert.equal(first?.path, "/api/v1/chat/completions");
  assert.equal(first?.headers.authorization, `Bearer ${CANARY}`);
  assert.equal(JSON.parse(first?.body ?? "").model, "small");
  await settled();
  const allowed = recorder.events.filter((event) => event.action === "gateway.request" && event.outcome === "allowed");
  assert.equal(allowed[0]?.resource, 'ProviderModel::"test/small"');
  assert.equal(allowed[0]?.data?.prompt_tokens, 9);
  const prompt = gateway.counters().find((counter) => counter.name === "modelkeep_gateway_prompt_tokens_total");
  assert.deepEqual(
    prompt?.samples.map((s) => [s.labels.model, s.value]),
    [
      ["test/small", 9],
      ["test/stream", 9],
    ],
  );
});

test("a stream arrives frame by frame", async (t) => {
  const { port } = await startAll(t);
  const got = await ask(port, "stream");
  const frames = got.chunks.filter((chunk) => chunk.text.includes("content"));
  assert.equal(frames.length, 4);
  const gaps = frames.slice(1).map((frame, i) => frame.at - (frames[i]?.at ?? 0));
  assert.ok(
    gaps.every((gap) => gap > 12),
    `gaps ${gaps}`,
  );
});

test("refusals have OpenAI's shape, the right status, and an audit event", async (t) => {
  const { port, recorder, providers, upstream, upstreamPort } = await startAll(t, { limits: { requestBytes: 1000 } });
  const baseUrl = `http://127.0.0.1:${upstreamPort}`;
  await providers.set({ name: "two", kind: "openai", baseUrl, secret: "openai-key", models: ["small"] }, { by });
  const cases: [Promise<{ status: number; body: string }>, number, string][] = [
    [ask(port, "small", { token: null }), 401, "invalid_api_key"],
    [ask(port, "small", { token: "x" }), 401, "invalid_api_key"],
    [ask(port, "test/secret-model"), 403, "model_not_allowed"],
    [ask(port, "nothing"), 404, "model_not_found"],
    [ask(port, "small"), 400, "model_ambiguous"],
    [ask(port, 7), 400, "request_invalid"],
    [ask(port, "", { body: "{" }), 400, "request_invalid"],
    [ask(port, "", { body: '{"model":"two/small","model":"test/secret-model"}' }), 400, "request_invalid"],
    [ask(port, "", { body: `{"model":"two/small","x":"${"y".repeat(2000)}"}` }), 413, "request_too_large"],
    [ask(port, "two/small", { headers: { "content-type": "multipart/form-data" } }), 415, "request_media_type"],
    [ask(port, "two/small", { headers: { "content-encoding": "gzip" } }), 415, "request_media_type"],
    [ask(port, "two/small", { path: "/v1/files" }), 404, "endpoint_not_found"],
    [ask(port, "two/small", { path: "/v1/chat/../../admin" }), 404, "endpoint_not_found"],
    [ask(port, "two/small", { method: "GET" }), 405, "method_not_allowed"],
    [ask(port, "", { path: "/v1/models/nothing", method: "GET" }), 404, "model_not_found"],
  ];
  for (const [answer, status, code] of cases) {
    const got = await answer;
    const { error } = JSON.parse(got.body);
    assert.deepEqual(
      [got.status, error.code, typeof error.message, typeof error.type],
      [status, code, "string", "string"],
    );
  }
  assert.equal(upstream.seen.length, 0);
  await settled();
  const events = recorder.events.filter((event) => event.action === "gateway.request");
  assert.equal(events.length, cases.length);
  assert.ok(events.every((event) => event.outcome === "refused"));
  assert.ok(!JSON.stringify(events).includes(TOKEN));
});

test("what a client sends beside the body stays here", async (t) => {
  const { port, upstream } = await startAll(t);
  const headers = {
    cookie: "session=1",
    "openai-organization": "org",
    "x-forwarded-for": "10.0.0.1",
    "x-custom": "1",
    "openai-beta": "assistants=v2",
    "x-request-id": `@KEYSLOT-${"0".repeat(32)}`,
  };
  await ask(port, "small", { headers });
  const seen = upstream.seen[0]?.headers ?? {};
  assert.deepEqual(Object.keys(seen).sort(), [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "openai-beta",
    "user-agent",
    "x-request-id",
  ]);
  assert.ok(!JSON.stringify(seen).includes(TOKEN));
});

test("the body goes on byte for byte but for the model's name", async (t) => {
  const { port, upstream } = await startAll(t);
  const body =
    ' {"a":{"model":"x"},"b":["model"], "seed":12345678901234567890, "m\\u006fdel" : "test/small" , "z":"\\"model\\":\\"q\\"","é":1.0}';
  const got = await ask(port, "", { body });
  assert.equal(got.status, 200);
  assert.equal(upstream.seen[0]?.body, body.replace("test/small", "small"));
});

test("no other member names a model that policy was not asked about", async (t) => {
  const { port, upstream } = await startAll(t);
  for (const name of ["Model", "MODEL", "models", "Fallbacks"]) {
    const got = await ask(port, "small", { body: JSON.stringify({ model: "small", [name]: "secret-model" }) });
    assert.deepEqual([name, got.status, codeOf(got)], [name, 400, "request_invalid"]);
  }
  assert.deepEqual(upstream.seen, []);
  const inside = { model: "small", metadata: { Model: "x", models: [] } };
  assert.equal((await ask(port, "small", { body: JSON.stringify(inside) })).status, 200);
});

test("a rotated key is used by the next request, and none fails", async (t) => {
  const { port, upstream, secrets } = await startAll(t);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  t.after(() => agent.destroy());
  const slow = ask(port, "stream", { agent });
  const running = Array.from({ length: 40 }, (_, i) =>
    i === 20 ? secrets.rotate("openai-key", utf8("sk-second-key-456789"), { by }) : ask(port, "small", { agent }),
  );
  const answers = await Promise.all(running);
  assert.ok(answers.every((got) => !("status" in got) || got.status === 200));
  assert.equal((await slow).broken, false);
  await ask(port, "small");
  assert.equal(upstream.seen.at(-1)?.headers.authorization, "Bearer sk-second-key-456789");
  const leases = await secrets.listLeases();
  assert.deepEqual(
    leases.map((lease) => lease.version),
    [2],
  );
});

test("a revoked lease cuts its streams; the next request takes another", async (t) => {
  const { port, secrets } = await startAll(t);
  const stream = ask(port, "slow-stream");
  await new Promise((resolve) => setTimeout(resolve, 100));
  const [lease] = await secrets.listLeases();
  assert.ok(lease);
  await secrets.revokeLease(lease.id, { by });
  const got = await stream;
  assert.ok(got.broken && !got.body.includes("[DONE]"));
  assert.equal((await ask(port, "small")).status, 200);
});

test("policy is asked once per token and model, until it changes", async (t) => {
  const { port, policy, gateway } = await startAll(t);
  for (let i = 0; i < 3; i++) await ask(port, "small");
  assert.equal(policy.asked, 1);
  await ask(port, "small", { token: `${TOKEN}other` });
  assert.equal(policy.asked, 2);
  gateway.policyChanged();
  await ask(port, "small");
  assert.equal(policy.asked, 3);
});

test("limits of a principal have names and do not touch the others", async (t) => {
  const { port } = await startAll(t, { limits: { principalConcurrentRequests: 2, principalRequestsPerMinute: 5 } });
  const streams = [ask(port, "stream"), ask(port, "stream")];
  await settled();
  const third = await ask(port, "small");
  assert.deepEqual([third.status, codeOf(third)], [429, "principal_concurrency_limited"]);
  assert.match(third.body, /principalConcurrentRequests/);
  await Promise.all(streams);
  for (let i = 0; i < 3; i++) assert.equal((await ask(port, "small")).status, 200);
  const over = await ask(port, "small");
  assert.deepEqual([over.status, codeOf(over)], [429, "principal_rate_limited"]);
  assert.equal(over.headers["retry-after"], "12");
  assert.equal((await ask(port, "small", { token: `${TOKEN}other` })).status, 200);
});

test("a client that goes away cancels the provider's work", async (t) => {
  const { port, upstream, recorder } = await startAll(t);
  const body = JSON.stringify({ model: "slow-stream" });
  const req = http.request({
    port,
    path: "/v1/chat/completions",
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  req.on("error", () => undefined);
  req.on("response", (res) => res.once("data", () => req.destroy()));
  req.end(body);
  for (let i = 0; i < 100 && upstream.closed.length === 0; i++) await settled();
  assert.deepEqual(upstream.closed, ["slow-stream"]);
  await settled();
  assert.equal(recorder.events.at(-1)?.data?.status, 499);
});

test("very many policies that permit a request do not make its event too large for the log", async (t) => {
  const policies = Array.from({ length: 1_000 }, (_, i) => `${i}`.padStart(128, "p"));
  const decide = () => ({ allowed: true, policies, errors: [] });
  const { port, recorder } = await startAll(t, { gateway: { authorizer: () => ({ decide }) } });
  assert.equal((await ask(port, "small")).status, 200);
  const event = recorder.events.find(({ action }) => action === "gateway.request");
  assert.ok(event);
  assert.equal(prepareEvent(event, 0).includes(policies[0] ?? ""), true);
});

test("without an audit log nothing is served; with it again, service comes back", async (t) => {
  const { port, recorder, upstream } = await startAll(t);
  recorder.broken = true;
  await ask(port, "small");
  await settled();
  const before = upstream.seen.length;
  const refused = await ask(port, "small");
  assert.deepEqual([refused.status, codeOf(refused)], [503, "audit_unavailable"]);
  assert.equal(upstream.seen.length, before);
  recorder.broken = false;
  await ask(port, "small");
  await settled();
  assert.equal((await ask(port, "small")).status, 200);
});

test("without a lease, or with a key that is no header value, the answer is 502", async (t) => {
  const { port, secrets, upstream } = await startAll(t);
  for (const value of ["sk-with\r\nx-evil: 1", "short", "sk-ümlaut-key-123"]) {
    await secrets.rotate("openai-key", utf8(value), { by });
    const got = await ask(port, "small");
    assert.deepEqual([got.status, codeOf(got)], [502, "provider_key_unavailable"]);
    assert.ok(!got.raw.includes(value));
  }
  await secrets.delete("openai-key", { by });
  assert.equal(codeOf(await ask(port, "small")), "provider_key_unavailable");
  assert.equal(upstream.seen.length, 0);
});
