/** Requests as they arrive by a socket: without a body, and with one whose length nobody announced. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { after, test } from "node:test";
import { startTestServer } from "./support.ts";

const fixture = await startTestServer();
after(() => fixture.stop());

async function send(method: string, path: string, type: string, body?: string): Promise<[number, string]> {
  const { port } = new URL(fixture.server.url);
  const outgoing = request({ host: "127.0.0.1", port, method, path, headers: { "content-type": type }, agent: false });
  // Written in two parts, so that it goes out chunked.
  for (const part of body === undefined ? [] : [body.slice(0, 1), body.slice(1)]) outgoing.write(part);
  outgoing.end();
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return [response.statusCode ?? 0, Buffer.concat(chunks).toString()];
}

test("a chunked form and a chunked document are read like others", async () => {
  const [status, text] = await send("POST", "/oauth/token", "application/x-www-form-urlencoded", "grant_type=nothing");
  assert.deepEqual([status, JSON.parse(text).error], [400, "unsupported_grant_type"]);
  const [refused] = await send("PUT", "/api/v1/secrets/a", "application/json", "{}");
  assert.equal(refused, 401);
});

test("a chunked body beyond the limit is refused", async () => {
  const [status] = await send("POST", "/oauth/token", "application/x-www-form-urlencoded", "x".repeat(1_000_000));
  assert.equal(status, 413);
});

test("a request without a body reaches its route", async () => {
  assert.equal((await send("DELETE", "/api/v1/secrets/a", "application/json"))[0], 401);
});
