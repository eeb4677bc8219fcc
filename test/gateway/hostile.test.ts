/** A hostile provider: whatever it does with the key, the client, the log, the audit and the metrics never show it. */
import assert from "node:assert/strict";
import * as net from "node:net";
import { test } from "node:test";
import { ask, CANARY, codeOf, createUpstream, listen, startAll } from "./support.ts";

const limits = { replyHeadMilliseconds: 300, replyIdleMilliseconds: 300, replyBytes: 4 * 1024 * 1024 };
const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

/** The whole key, any half of it, and its usual encodings. */
function leaks(text: string): boolean {
  const forms = [CANARY, CANARY.slice(0, 20), CANARY.slice(-20), Buffer.from(CANARY).toString("hex")];
  return forms.some((form) => text.includes(form));
}

test("an echoed key is masked in body, headers and streams", async (t) => {
  const { port, log, recorder, gateway } = await startAll(t, { limits });
  const body = await ask(port, "echo-body");
  assert.equal(body.status, 200);
  assert.match(JSON.parse(body.body).again, /^Bearer \*{3,}$/);
  assert.equal(Number(body.headers["content-length"]), body.body.length);
  const headers = await ask(port, "echo-headers");
  assert.match(String(headers.headers["x-echo"]), /^Bearer \*{3,}$/);
  assert.match(String(headers.headers["x-many"]), /^Bearer \*{3,}, fine$/);
  for (const name of ["set-cookie", "x-accel-redirect", "x-sendfile"]) assert.equal(headers.headers[name], undefined);
  const stream = await ask(port, "echo-stream");
  assert.match(stream.body, /xBearer \*\*\*y/);
  assert.ok(stream.body.endsWith("[DONE]\n\n"));
  const head = await ask(port, "split-head");
  assert.ok([200, 502].includes(head.status));
  const error = await ask(port, "echo-error");
  assert.match(JSON.parse(error.body).error.message, /^bad key Bearer \*{3,}$/);
  for (const got of [body, headers, stream, head, error]) assert.ok(!leaks(got.raw), got.raw);
  await settled();
  assert.ok(!leaks(log.lines.join("\n")));
  assert.ok(!leaks(JSON.stringify(recorder.events)));
  assert.ok(!leaks(JSON.stringify(gateway.counters())));
  for (const name of ["echoed", "scrubbed"]) {
    assert.ok(gateway.counters().some((counter) => counter.name === `modelkeep_gateway_${name}_total`));
  }
});

test("every way to fail has its own code, and none shows the key", async (t) => {
  const { port, log, recorder, gateway, secrets } = await startAll(t, { limits });
  const expected: Record<string, [number, string]> = {
    "echo-401": [502, "upstream_refused_key"],
    "echo-500": [502, "upstream_failed"],
    redirect: [502, "upstream_redirect"],
    compressed: [502, "upstream_reply_invalid"],
    garbage: [502, "upstream_reply_invalid"],
    "huge-headers": [502, "upstream_reply_invalid"],
    silent: [504, "upstream_timeout"],
  };
  for (const [model, [status, code]] of Object.entries(expected)) {
    const got = await ask(port, model);
    assert.deepEqual([model, got.status, codeOf(got)], [model, status, code]);
    assert.ok(!leaks(got.raw), got.raw);
  }
  for (const model of ["midway", "bad-chunk", "stall", "flood"]) {
    const got = await ask(port, model).catch(() => undefined);
    assert.ok(got === undefined || got.broken || got.status === 502, model);
    assert.ok(!leaks(got?.raw ?? ""));
  }
  await settled();
  const events = recorder.events.filter((event) => event.action === "gateway.request");
  assert.equal(events.length, Object.keys(expected).length + 4);
  assert.ok(events.every((event) => event.outcome === "failed"));
  assert.ok(!leaks([...log.lines, JSON.stringify(recorder.events), JSON.stringify(gateway.counters())].join("\n")));
  // All of it shared one lease, and every request gave it back.
  assert.equal((await secrets.listLeases()).length, 1);
  gateway.checkInIdleKeys();
  await settled();
  assert.deepEqual(await secrets.listLeases(), []);
});

test("nobody listens, no such name, a name that moved to the metadata address", async (t) => {
  const dead = net.createServer();
  const port = await new Promise<number>((resolve) => {
    dead.listen(0, "127.0.0.1", () => resolve((dead.address() as net.AddressInfo).port));
  });
  dead.close();
  const gone = await startAll(t, { baseUrl: `http://127.0.0.1:${port}` });
  assert.equal(codeOf(await ask(gone.port, "small")), "upstream_unreachable");
  const moved = await startAll(t, {
    baseUrl: "https://localhost:9/v1",
    gateway: {
      lookup: (_host, options, done) => {
        const found = { address: "169.254.169.254", family: 4 };
        if (options.all) done(null, [found]);
        else done(null, found.address, 4);
      },
    },
  });
  const got = await ask(moved.port, "small");
  assert.deepEqual([got.status, codeOf(got)], [502, "upstream_address_refused"]);
});

test("a client that does not read is cut off, and so is its provider", async (t) => {
  const { port, upstream } = await startAll(t, { limits: { clientIdleMilliseconds: 100, replyBytes: 1e12 } });
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  const body = '{"model":"flood"}';
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer mk_token_0123456789\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  socket.pause();
  for (let i = 0; i < 200 && upstream.closed.length === 0; i++) await settled();
  assert.deepEqual(upstream.closed, ["flood"]);
  socket.destroy();
});

test("a body that never ends its way is refused in time", async (t) => {
  const { port } = await startAll(t, { limits: { requestBodyMilliseconds: 100 } });
  const socket = net.connect(port, "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
  });
  socket.write(
    "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer mk_token_0123456789\r\ncontent-length: 100\r\n\r\n{",
  );
  await new Promise((resolve) => socket.on("close", resolve));
  assert.match(answer, /^HTTP\/1.1 408[\s\S]*request_timeout/);
});

test("a second provider never gets the first one's key", async (t) => {
  const { port, providers, secrets, upstream } = await startAll(t);
  const other = createUpstream();
  const otherPort = await listen(other.server);
  t.after(() => {
    other.server.closeAllConnections();
    other.server.close();
  });
  const by = { type: "Admin", id: "ada" };
  await secrets.put("other-key", Buffer.from("sk-other-provider-key"), { by });
  const baseUrl = `http://127.0.0.1:${otherPort}`;
  await providers.set({ name: "other", kind: "openai", baseUrl, secret: "other-key", models: ["small"] }, { by });
  const asked = Array.from({ length: 200 }, (_, i) => ask(port, i % 2 ? "other/small" : "test/small"));
  assert.ok((await Promise.all(asked)).every((got) => got.status === 200));
  assert.ok(
    other.seen.length === 100 && other.seen.every((s) => s.headers.authorization === "Bearer sk-other-provider-key"),
  );
  assert.ok(upstream.seen.length === 100 && upstream.seen.every((s) => s.headers.authorization === `Bearer ${CANARY}`));
});
