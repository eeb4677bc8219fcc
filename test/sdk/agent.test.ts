/** The local agent: what it lets through, what it takes off, that frames pass as they come, and how it fails. */
import assert from "node:assert/strict";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as net from "node:net";
import { type TestContext, test } from "node:test";
import { systemRandom } from "../../src/host/index.ts";
import { AGENT_LIMITS, type Agent, startAgent } from "../../src/sdk/index.ts";
import { type TokenSession, tokenError } from "../../src/tokens/index.ts";

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

type Answer = (req: http.IncomingMessage, res: http.ServerResponse) => void;

function listen(server: http.Server): Promise<number> {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
}

async function start(
  t: TestContext,
  answer: Answer = (_req, res) => res.end("{}"),
  session: Partial<TokenSession> = {},
) {
  const seen: Seen[] = [];
  const refused: string[] = [];
  const server = http.createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk) => chunks.push(chunk));
    req.on("end", () => {
      const { method = "", url = "", headers } = req;
      seen.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      answer(req, res);
    });
  });
  const serverUrl = `http://127.0.0.1:${await listen(server)}`;
  let proofs = 0;
  const fake: TokenSession = {
    serverUrl,
    prove: async (method, url) => ({ authorization: "DPoP mkt_token", dpop: `${++proofs} ${method} ${url}` }),
    refused: (headers) => void refused.push(headers.authorization),
    fetch,
    sendProven: fetch,
    ...session,
  };
  const agent = await startAgent({ session: fake, random: systemRandom });
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await agent.close();
  });
  return { agent, seen, refused, server, serverUrl, port: Number(new URL(agent.baseUrl).port) };
}

function ask(agent: Agent, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${agent.localKey}`, ...(init.headers as Record<string, string>) };
  return fetch(agent.baseUrl.replace(/\/v1$/, "") + path, { ...init, headers });
}

const codeOf = async (response: Response) => ((await response.json()) as { error: { code: string } }).error.code;

/** Bytes as they are, for what no client would send. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write(text));
    let got = "";
    socket.setTimeout(3000, () => socket.destroy(new Error("no answer")));
    socket.on("data", (chunk) => {
      got += chunk;
    });
    socket.on("error", (error) => (got === "" ? reject(error) : resolve(got)));
    socket.on("close", () => resolve(got));
  });
}

test("the application's key stays here, token and proof go on, and the rest of the request is untouched", async (t) => {
  const { agent, seen, serverUrl } = await start(t);
  const sent = {
    method: "POST",
    body: '{"model":"m"}',
    headers: {
      "content-type": "application/json",
      "x-request-id": "r1",
      cookie: "a=b",
      dpop: "mine",
      "x-api-key": agent.localKey,
      "x-forwarded-for": "1.2.3.4",
    },
  };
  assert.equal((await ask(agent, "/v1/chat/completions?a=%20b", sent)).status, 200);
  const [one] = seen;
  assert.ok(one);
  assert.deepEqual([one.method, one.url, one.body], ["POST", "/v1/chat/completions?a=%20b", '{"model":"m"}']);
  assert.equal(one.headers.authorization, "DPoP mkt_token");
  assert.equal(one.headers.dpop, `1 POST ${serverUrl}/v1/chat/completions?a=%20b`);
  assert.equal(one.headers["x-request-id"], "r1");
  assert.equal(one.headers.host, new URL(serverUrl).host);
  assert.ok(!JSON.stringify(one).includes(agent.localKey));
  for (const name of ["cookie", "x-api-key", "x-forwarded-for"]) assert.equal(one.headers[name], undefined);
});

test("a wrong local key, or none, or that of another start", async (t) => {
  const { agent, seen } = await start(t);
  const { agent: other } = await start(t);
  for (const authorization of [
    "",
    "Bearer ",
    "Bearer x",
    `Bearer ${other.localKey}`,
    `DPoP ${agent.localKey}`,
    agent.localKey,
  ]) {
    const response = await ask(agent, "/v1/models", { headers: { authorization } });
    assert.equal(response.status, 401);
    assert.equal(await codeOf(response), "agent_key_refused");
  }
  assert.equal(seen.length, 0);
});

test("another Host, as a page in a browser would have after DNS rebinding", async (t) => {
  const { agent, port, seen } = await start(t);
  const hosts = [
    "evil.example",
    `evil.example:${port}`,
    "127.0.0.1",
    `127.0.0.1:${port + 1}`,
    `127.0.0.1.evil.example:${port}`,
    "",
  ];
  for (const host of hosts) {
    const head = `GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${agent.localKey}\r\n\r\n`;
    assert.match(await raw(port, head), /^HTTP\/1\.1 421 /);
  }
  assert.equal(seen.length, 0);
  const good = `GET /v1/models HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: close\r\nAuthorization: Bearer ${agent.localKey}\r\n\r\n`;
  assert.match(await raw(port, good), /^HTTP\/1\.1 200 /);
});

test("paths outside /v1, absolute targets, CONNECT and upgrades", async (t) => {
  const { agent, port, seen } = await start(t);
  const targets = [
    "/",
    "/api/v1/secrets",
    "/v1x",
    "/V1/models",
    "/v1/../api/v1/secrets",
    "/v1/%2e%2e/api",
    "/v1/..%2fapi",
    "/v1/a%5c..%5cb",
    "/v1/..\\api",
    "/v1/./models",
    "//evil.example/v1/models",
    "/v1//models",
    "http://evil.example/v1/models",
    `http://127.0.0.1:${port}/v1/models`,
    "*",
    `/v1/${"x".repeat(AGENT_LIMITS.targetCharacters)}`,
  ];
  const rest = `HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${agent.localKey}\r\n`;
  for (const target of targets) {
    const answer = await raw(port, `GET ${target} ${rest}\r\n`);
    assert.match(answer, /^HTTP\/1\.1 (404|400) /, target.slice(0, 60));
  }
  assert.equal(await raw(port, `CONNECT evil.example:443 ${rest}\r\n`), "");
  assert.equal(await raw(port, `GET /v1/realtime ${rest}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n`), "");
  assert.equal(seen.length, 0);
});

test("a body whose length and framing contradict each other goes nowhere", async (t) => {
  const { agent, port, seen } = await start(t);
  const head = `HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${agent.localKey}\r\n`;
  const both = `POST /v1/x ${head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api HTTP/1.1\r\n\r\n`;
  assert.match(await raw(port, both), /^HTTP\/1\.1 400 /);
  assert.equal(seen.length, 0);
  const unframed = `DELETE /v1/x ${head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n`;
  assert.match(await raw(port, unframed), /^HTTP\/1\.1 200 /);
  assert.deepEqual(
    seen.map((one) => [one.method, one.url, one.body]),
    [["DELETE", "/v1/x", "GET /"]],
  );
});

test("a Connection header cannot take the length away and make a second request of the body", async (t) => {
  const { agent, port, seen } = await start(t);
  const head = `HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${agent.localKey}\r\n`;
  const inner = "GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const method of ["GET", "DELETE", "POST"]) {
    const named = `${head}Connection: close, Content-Length\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`;
    await raw(port, `${method} /v1/x ${named}`);
  }
  assert.deepEqual(
    seen.map((one) => [one.method, one.url, one.body]),
    ["GET", "DELETE", "POST"].map((method) => [method, "/v1/x", inner]),
  );
});

test("frames of a stream pass one by one, each when it comes", async (t) => {
  const { agent } = await start(t, (_req, res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.flushHeaders();
    let n = 0;
    const timer = setInterval(() => {
      res.write(`data: ${n}\n\n`);
      if (++n === 5) {
        clearInterval(timer);
        res.end();
      }
    }, 60);
  });
  const response = await ask(agent, "/v1/chat/completions", { method: "POST", body: "{}" });
  const frames: { at: number; text: string }[] = [];
  for await (const chunk of response.body ?? []) {
    frames.push({ at: performance.now(), text: Buffer.from(chunk).toString() });
  }
  assert.deepEqual(
    frames.map((frame) => frame.text),
    [0, 1, 2, 3, 4].map((n) => `data: ${n}\n\n`),
  );
  assert.ok((frames[4]?.at ?? 0) - (frames[0]?.at ?? 0) > 150);
});

test("a slow reader slows the server: nothing gathers in the agent", async (t) => {
  let written = 0;
  const { agent, port } = await start(t, (_req, res) => {
    const block = Buffer.alloc(64 * 1024);
    const more = (): void => {
      while (!res.destroyed && written < 1e9 && res.write(block)) written += block.length;
      written += block.length;
      if (!res.destroyed) res.once("drain", more);
    };
    more();
  });
  const socket = net.connect(port, "127.0.0.1");
  socket.pause();
  socket.write(`GET /v1/flood HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${agent.localKey}\r\n\r\n`);
  let [before, tries] = [-1, 0];
  while (written === 0 || (before !== written && ++tries < 30)) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  socket.destroy();
  assert.equal(written, before, "it never stops");
  assert.ok(written < 64 * 1024 * 1024, `${written} bytes`);
});

test("a server that is down, silent about its end, or breaks off", async (t) => {
  const down = await start(t);
  down.server.closeAllConnections();
  await new Promise((resolve) => down.server.close(resolve));
  const response = await ask(down.agent, "/v1/models");
  assert.equal(response.status, 502);
  assert.equal(await codeOf(response), "agent_upstream_unreachable");
  const rude = await start(t, (req) => req.socket.destroy());
  assert.equal((await ask(rude.agent, "/v1/models")).status, 502);
  const midway = await start(t, (_req, res) => {
    res.write("begun");
    setTimeout(() => res.destroy(), 30);
  });
  const broken = await ask(midway.agent, "/v1/models");
  assert.equal(broken.status, 200);
  await assert.rejects(broken.text());
});

test("no token: told apart from no server", async (t) => {
  const refusing = await start(t, undefined, {
    prove: async () => {
      throw tokenError("RENEWAL_REFUSED", { detail: "invalid_grant" });
    },
  });
  const response = await ask(refusing.agent, "/v1/models");
  assert.equal(response.status, 502);
  assert.equal(await codeOf(response), "agent_not_enrolled");
  const crashing = await start(t, undefined, {
    prove: async () => {
      throw new Error("the key is 1234");
    },
  });
  const crash = await ask(crashing.agent, "/v1/models");
  assert.equal(crash.status, 500);
  assert.ok(!(await crash.text()).includes("1234"));
});

test("a 401 of the server makes the next request renew, and its cookies and challenges stay here", async (t) => {
  const { agent, refused } = await start(t, (_req, res) => {
    res.writeHead(401, { "set-cookie": "a=b", "www-authenticate": "DPoP", "x-other": "1" });
    res.end("{}");
  });
  const response = await ask(agent, "/v1/models");
  assert.deepEqual(refused, ["DPoP mkt_token"]);
  const { headers } = response;
  assert.deepEqual(
    [headers.get("set-cookie"), headers.get("www-authenticate"), headers.get("x-other")],
    [null, null, "1"],
  );
});

test("a client that goes away takes its request to the server with it", async (t) => {
  let closed: () => void = () => {};
  const gone = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const { agent } = await start(t, (_req, res) => {
    res.write("begun");
    res.on("close", closed);
  });
  const abort = new AbortController();
  const response = await ask(agent, "/v1/models", { signal: abort.signal });
  assert.equal(response.status, 200);
  abort.abort();
  await gone;
});

test("a body over the limit is refused by its length before a byte goes on", async (t) => {
  const { agent, port, seen } = await start(t);
  const head = `POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${agent.localKey}\r\n`;
  assert.match(await raw(port, `${head}Content-Length: ${AGENT_LIMITS.bodyBytes + 1}\r\n\r\n`), /^HTTP\/1\.1 413 /);
  assert.equal(seen.length, 0);
});
