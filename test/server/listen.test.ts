/** The port against clients that ask and do not read. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Hono } from "hono";
import { listen } from "../../src/server/listen.ts";
import { configOf, newFolder } from "./support.ts";

const ANSWER_BYTES = 64 * 1024 * 1024;

test("an answer that nobody takes is given up, and others are answered meanwhile", { timeout: 60_000 }, async (t) => {
  const app = new Hono()
    .get("/big", (c) => c.body("x".repeat(ANSWER_BYTES)))
    .get("/small", async (c) => {
      await sleep(700);
      return c.text("small");
    });
  const config = await configOf(newFolder());
  const server = await listen(config, { app, gateway: (_req, res) => void res.end(), answerTimeoutMs: 500 });
  t.after(() => server.close(0));
  const { port } = new URL(server.url);
  const stuck = connect(Number(port), "127.0.0.1");
  t.after(() => stuck.destroy());
  stuck.on("error", () => undefined);
  await once(stuck, "connect");
  stuck.write(`GET /big HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  const started = performance.now();
  assert.equal(await (await fetch(`${server.url}/small`)).text(), "small", "thinking counts for nothing");
  const response = await fetch(`${server.url}/big`);
  assert.equal((await response.text()).length, ANSWER_BYTES, "who reads gets all of it");
  while (performance.now() - started < 1_500) await sleep(50);
  let read = 0;
  stuck.on("data", (chunk) => {
    read += chunk.length;
  });
  await once(stuck, "close");
  assert.ok(read < ANSWER_BYTES, `${read} bytes were kept for who did not read`);
});
