/** Providers that fail, and tell about it in every encoding; TLS that is not theirs. Nothing leaks, nothing is lost. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, CANARY, codeOf, listen, startAll } from "./support.ts";

const limits = { replyHeadMilliseconds: 400, replyIdleMilliseconds: 300, connectMilliseconds: 500 };

const key = Buffer.from(CANARY);
const encodings: Readonly<Record<string, string>> = {
  plain: CANARY,
  base64: key.toString("base64"),
  "base64 after one": Buffer.from(`:${CANARY}`).toString("base64"),
  "base64 after two": Buffer.from(`u:${CANARY}:`).toString("base64"),
  base64url: Buffer.from(`?${CANARY}?`).toString("base64url"),
  basic: Buffer.from(`:${CANARY}`).toString("base64"),
  hex: key.toString("hex"),
  HEX: key.toString("hex").toUpperCase(),
  url: [...key].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""),
};

/** 14 characters of the key in a row, however they are written. */
function leaks(text: string): boolean {
  const decoded = [
    text,
    text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  ];
  for (const run of text.match(/[0-9a-f]{16,}/gi) ?? []) decoded.push(Buffer.from(run, "hex").toString("latin1"));
  for (const run of text.match(/[A-Za-z0-9+/_-]{16,}/g) ?? [])
    for (const shift of [0, 1, 2, 3]) decoded.push(Buffer.from(run.slice(shift), "base64").toString("latin1"));
  return decoded.some((one) => {
    for (let at = 0; at + 14 <= CANARY.length; at++) if (one.includes(CANARY.slice(at, at + 14))) return true;
    return false;
  });
}

async function serve(t: TestContext, handler: http.RequestListener): Promise<string> {
  const server = http.createServer(handler);
  const port = await listen(server);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${port}/v1`;
}

test("the check of this test sees a leak in every encoding", () => {
  for (const [name, text] of Object.entries(encodings)) if (name !== "url") assert.ok(leaks(`{"a":"${text}"}`), name);
  assert.ok(leaks(encodings.url ?? ""));
  assert.ok(!leaks('{"choices":[{"message":{"content":"hello"}}]}'));
});

for (const [name, encoded] of Object.entries(encodings))
  test(`a key that comes back as ${name} is taken out: body, header, error, stream in pieces`, async (t) => {
    const baseUrl = await serve(t, (req, res) => {
      req.resume().on("end", async () => {
        const model = req.headers["x-request-id"];
        if (model === "stream") {
          res.writeHead(200, { "content-type": "text/event-stream" });
          for (const piece of `data: ${encoded}\n\n`.match(/.{1,7}/gs) ?? []) {
            res.write(piece);
            await sleep(1);
          }
          return void res.end();
        }
        const status = model === "error" ? 429 : 200;
        res.writeHead(status, { "content-type": "application/json", "x-debug": encoded });
        res.end(JSON.stringify({ error: { message: `bad key ${encoded}.` } }));
      });
    });
    const { port, log, recorder, gateway } = await startAll(t, { limits, baseUrl });
    for (const way of ["body", "error", "stream"]) {
      const got = await ask(port, "small", { headers: { "x-request-id": way } });
      assert.equal(got.status, way === "error" ? 429 : 200);
      assert.ok(!leaks(got.raw), `${way}: ${got.raw}`);
    }
    await sleep(20);
    assert.ok(!leaks([...log.lines, JSON.stringify([recorder.events, gateway.counters()])].join("\n")));
    const seen = recorder.events.filter(({ action }) => action === "gateway.request");
    assert.equal(seen.length, 3);
  });

test("half answers, silence and refusals: a clear error each time, and the next request works", async (t) => {
  let way = "";
  const baseUrl = await serve(t, (req, res) => {
    req.resume().on("end", () => {
      const { socket } = res;
      if (way === "half-body") {
        res.writeHead(200, { "content-length": "100", "content-type": "application/json" });
        res.write('{"half":');
        setTimeout(() => socket?.destroy(), 10);
      } else if (way === "half-head") socket?.end("HTTP/1.1 200 OK\r\ncontent-ty");
      else if (way === "reset") socket?.resetAndDestroy();
      else if (way === "silent") return;
      else if (way === "slow-head") socket?.write("HTTP/1.1 200");
      else if (way !== "") {
        res.writeHead(Number(way), { "content-type": "application/json", "x-key": CANARY });
        res.end(JSON.stringify({ error: CANARY }));
      } else res.end("{}");
    });
  });
  const { port, recorder, secrets, log } = await startAll(t, { limits, baseUrl });
  const expected: Readonly<Record<string, readonly [number, string]>> = {
    "half-body": [502, "upstream_failed"],
    "half-head": [502, "upstream_failed"],
    reset: [502, "upstream_failed"],
    silent: [504, "upstream_timeout"],
    "slow-head": [504, "upstream_timeout"],
    401: [502, "upstream_refused_key"],
    403: [502, "upstream_refused_key"],
    500: [502, "upstream_failed"],
    502: [502, "upstream_failed"],
    503: [502, "upstream_failed"],
    529: [502, "upstream_failed"],
    302: [502, "upstream_redirect"],
  };
  for (const [name, [status, code]] of Object.entries(expected)) {
    way = name;
    const got = await ask(port, "small");
    assert.deepEqual([name, got.status, codeOf(got)], [name, status, code]);
    assert.ok(!leaks(got.raw));
    way = "";
    assert.equal((await ask(port, "small")).status, 200, `after ${name}`);
  }
  await sleep(20);
  const outcomes = recorder.events.filter(({ action }) => action === "gateway.request").map(({ outcome }) => outcome);
  const count = Object.keys(expected).length;
  assert.deepEqual([outcomes.length, outcomes.filter((outcome) => outcome === "failed").length], [2 * count, count]);
  assert.ok(!leaks([...log.lines, JSON.stringify(recorder.events)].join("\n")));
  assert.equal((await secrets.listLeases()).length, 1);
});

/** Self-signed for a name; undefined without the openssl command. */
function certificateFor(folder: string, name: string, days: string): { key: Buffer; cert: Buffer } | undefined {
  const [keyFile, certFile] = [join(folder, `${name}${days}.key`), join(folder, `${name}${days}.crt`)];
  const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const rest = ["-keyout", keyFile, "-out", certFile, "-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
  try {
    execFileSync("openssl", [...words, ...rest, "-days", days], { stdio: "ignore" });
    return { key: readFileSync(keyFile), cert: readFileSync(certFile) };
  } catch {
    return undefined;
  }
}

test("TLS of somebody else: the key never leaves, and the error says unreachable or failed", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-tls-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const right = certificateFor(folder, "localhost", "2");
  const otherName = certificateFor(folder, "example.org", "2");
  if (!right || !otherName) return t.skip("needs the openssl command: apt-get install openssl");
  let heard = 0;
  const start = async (options: https.ServerOptions) => {
    const server = https.createServer(options, (_req, res) => {
      heard++;
      res.end("{}");
    });
    const port = await listen(server as unknown as http.Server);
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return port;
  };
  const plain = net.createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
  });
  const plainPort = await new Promise<number>((resolve) => {
    plain.listen(0, "127.0.0.1", () => resolve((plain.address() as net.AddressInfo).port));
  });
  t.after(() => plain.close());
  const cases = {
    "an authority that nobody knows": [await start(right), undefined],
    "another name": [await start(otherName), String(otherName.cert)],
    "TLS 1.0": [await start({ ...right, maxVersion: "TLSv1.1", minVersion: "TLSv1" }), String(right.cert)],
    "no TLS at all": [plainPort, String(right.cert)],
  } as const;
  for (const [name, [port, ca]] of Object.entries(cases)) {
    const baseUrl = `https://localhost:${port}/v1`;
    const one = await startAll(t, { limits, baseUrl, gateway: ca === undefined ? {} : { ca } });
    const got = await ask(one.port, "small");
    assert.deepEqual([name, got.status, codeOf(got)], [name, 502, "upstream_failed"]);
    assert.ok(!leaks(got.raw + one.log.lines.join("\n") + JSON.stringify(one.recorder.events)));
    await one.close();
  }
  assert.equal(heard, 0);
  const good = await startAll(t, {
    limits,
    baseUrl: `https://localhost:${await start(right)}/v1`,
    gateway: { ca: String(right.cert) },
  });
  assert.equal((await ask(good.port, "small")).status, 200);
  assert.equal(heard, 1);
});
