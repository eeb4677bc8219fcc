/** The port against clients that ask and do not read, and against heads of requests that say two things. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Hono } from "hono";
import { SERVER_LIMITS } from "../../src/server/limits.ts";
import { listen } from "../../src/server/listen.ts";
import { configOf, newFolder } from "./support.ts";

const [ANSWER_BYTES, UNREAD_BYTES] = [1024 * 1024, 64 * 1024 * 1024];
const TIMEOUT_MS = 2_000;

test("an answer that nobody takes is given up, and others are answered meanwhile", { timeout: 60_000 }, async (t) => {
  const app = new Hono()
    .get("/read", (c) => c.body("x".repeat(ANSWER_BYTES)))
    .get("/unread", (c) => c.body("x".repeat(UNREAD_BYTES)))
    .get("/small", async (c) => {
      await sleep(TIMEOUT_MS + 500);
      return c.text("small");
    });
  const config = await configOf(newFolder());
  const server = await listen(config, { app, gateway: (_req, res) => void res.end(), answerTimeoutMs: TIMEOUT_MS });
  t.after(() => server.close(0));
  const { port } = new URL(server.url);
  const stuck = connect(Number(port), "127.0.0.1");
  t.after(() => stuck.destroy());
  stuck.on("error", () => undefined);
  await once(stuck, "connect");
  stuck.write(`GET /unread HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  assert.equal(await (await fetch(`${server.url}/small`)).text(), "small", "thinking counts for nothing");
  const response = await fetch(`${server.url}/read`);
  assert.equal((await response.text()).length, ANSWER_BYTES, "who reads gets all of it");
  let read = 0;
  stuck.on("data", (chunk) => {
    read += chunk.length;
  });
  await once(stuck, "close");
  assert.ok(read < UNREAD_BYTES, `${read} bytes were kept for who did not read`);
});

test("who goes away before the answer is there leaves no timer behind", { timeout: 60_000 }, async (t) => {
  const answered = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  const app = new Hono().get("/late", async (c) => {
    await gone.promise;
    setImmediate(answered.resolve);
    return c.text("late");
  });
  const server = await listen(await configOf(newFolder()), { app, gateway: (_req, res) => void res.end() });
  t.after(() => server.close(0));
  const { port } = new URL(server.url);
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const client = connect(Number(port), "127.0.0.1").on("error", () => undefined);
  client.write(`GET /late HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  await sleep(200);
  client.destroy();
  await sleep(200);
  gone.resolve();
  await answered.promise;
  await sleep(100);
  assert.ok(timers() <= before, `${timers()} timers, ${before} before`);
});

test("heads that others would read differently, and heads without end, reach neither the API nor the gateway", async (t) => {
  const reached: string[] = [];
  const app = new Hono().all("*", (c) => {
    reached.push(c.req.path);
    return c.text("reached");
  });
  const gateway = (req: { url?: string | undefined }, res: { end(): unknown }) => {
    reached.push(req.url ?? "");
    res.end();
  };
  const server = await listen(await configOf(newFolder()), { app, gateway });
  t.after(() => server.close(0));
  const { port } = new URL(server.url);
  const ask = async (text: string) => {
    const socket = connect(Number(port), "127.0.0.1").on("error", () => undefined);
    let answer = "";
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      answer += chunk;
    });
    socket.end(text);
    await once(socket, "close");
    return [...answer.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status));
  };
  const host = `Host: 127.0.0.1:${port}\r\n`;
  const many = (count: number) => Array.from({ length: count }, (_, index) => `x${index}: 1\r\n`).join("");
  const bad: [string, number][] = [
    [`${host}Host: evil.example\r\n`, 400],
    ["", 400],
    [`${host}${many(SERVER_LIMITS.headersCount)}`, 431],
    [`${host}x: ${"a".repeat(SERVER_LIMITS.headerBytes)}\r\n`, 431],
    [`${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n`, 400],
    [`${host}Content-Length: 4\r\nContent-Length: 5\r\n`, 400],
    [`${host}x : 1\r\n`, 400],
    [`${host} folded: 1\r\n`, 400],
  ];
  for (const path of ["/api/v1/whoami", "/v1/models"])
    for (const [head, status] of bad)
      assert.deepEqual(await ask(`POST ${path} HTTP/1.1\r\n${head}\r\n0\r\n\r\n`), [status], head.slice(0, 60));
  assert.deepEqual(reached, []);
  const fine = `GET /api/v1/whoami HTTP/1.1\r\n${host}${many(SERVER_LIMITS.headersCount - 2)}Connection: close\r\n\r\n`;
  assert.deepEqual([await ask(fine), reached], [[200], ["/api/v1/whoami"]]);
});
