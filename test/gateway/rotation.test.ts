/** A provider's key is changed while requests run: none fails, whichever way the change goes. */
import assert from "node:assert/strict";
import * as http from "node:http";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { utf8 } from "../../src/base/index.ts";
import { ask, by, CANARY, codeOf, listen, startAll } from "./support.ts";

const NEW = "sk-canary-new-7d1e55a0c3b94f62";

/** A provider that knows which keys are good now, and counts what it refused. */
async function strictProvider(t: TestContext, good: Set<string>) {
  const seen: string[] = [];
  const state = { refused: 0, tried: 0 };
  const server = http.createServer((req, res) => {
    const key = (req.headers.authorization ?? "").replace("Bearer ", "");
    seen.push(key);
    if (!good.has(key)) {
      state.refused++;
      res.writeHead(401, { "content-type": "application/json" });
      return void res.end(JSON.stringify({ error: { message: `Incorrect API key provided: ${key}` } }));
    }
    if (req.url?.endsWith("/models")) state.tried++;
    req.resume().on("end", async () => {
      await sleep(Math.random() * 20);
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify({ id: "c", choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } }));
    });
  });
  const port = await listen(server);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { baseUrl: `http://127.0.0.1:${port}/v1`, seen, state };
}

/** Keeps eight requests under way until it is ended; every status that was seen. */
function load(port: number) {
  const statuses: number[] = [];
  let running = true;
  const workers = Array.from({ length: 8 }, async () => {
    while (running) statuses.push((await ask(port, "small")).status);
  });
  return {
    statuses,
    async end() {
      running = false;
      await Promise.all(workers);
    },
  };
}

test("tried, promoted, retired and revoked at the provider under load: no request fails", async (t) => {
  const good = new Set([CANARY, NEW]);
  const provider = await strictProvider(t, good);
  const { port, secrets, gateway } = await startAll(t, { baseUrl: provider.baseUrl });
  const busy = load(port);
  await sleep(150);
  await secrets.stage("openai-key", utf8(NEW), { by });
  assert.deepEqual(await gateway.tryCandidate("openai-key"), ["test"]);
  assert.ok(provider.state.tried === 1 && !provider.seen.slice(-20).every((key) => key === NEW));
  await secrets.promote("openai-key", { by, graceSeconds: 60 });
  await sleep(150);
  // The old key is still held by requests that began with it; then nobody has it, and the provider may forget it.
  await secrets.retire("openai-key", { by });
  await sleep(100);
  good.delete(CANARY);
  await sleep(150);
  await busy.end();
  assert.deepEqual([...new Set(busy.statuses)], [200]);
  assert.ok(busy.statuses.length > 20, `${busy.statuses.length} requests`);
  assert.equal(provider.state.refused, 0);
  t.diagnostic(`${busy.statuses.length} requests, ${busy.statuses.filter((status) => status !== 200).length} failed`);
});

test("back and forth ten times under load: no request fails", async (t) => {
  const provider = await strictProvider(t, new Set([CANARY, NEW]));
  const { port, secrets } = await startAll(t, { baseUrl: provider.baseUrl });
  const busy = load(port);
  for (let round = 0; round < 10; round++) {
    await secrets.rotate("openai-key", utf8(NEW), { by });
    await sleep(30);
    if (round % 2 === 0) await secrets.rollBack("openai-key", { by });
    else await secrets.rotate("openai-key", utf8(CANARY), { by });
    await sleep(30);
  }
  await busy.end();
  assert.deepEqual([...new Set(busy.statuses)], [200]);
  assert.deepEqual([...new Set(provider.seen)].sort(), [CANARY, NEW].sort());
});

test("a key that the provider refuses changes nothing, and is said without showing it", async (t) => {
  const provider = await strictProvider(t, new Set([CANARY]));
  const { port, secrets, gateway, log, recorder } = await startAll(t, { baseUrl: provider.baseUrl });
  const busy = load(port);
  await secrets.stage("openai-key", utf8(NEW), { by });
  await assert.rejects(gateway.tryCandidate("openai-key"), (error: Error & { code: string }) => {
    assert.equal(error.code, "CANARY_REFUSED");
    assert.ok(!JSON.stringify([error, error.message, String(error.stack)]).includes(NEW));
    return true;
  });
  await secrets.rollBack("openai-key", { by });
  await assert.rejects(gateway.tryCandidate("openai-key"), { code: "SECRET_VERSION_MISSING" });
  await assert.rejects(secrets.promote("openai-key", { by }), { code: "SECRET_VERSION_MISSING" });
  await secrets.put("unused", utf8(NEW), { by });
  await assert.rejects(gateway.tryCandidate("unused"), { code: "CANARY_IMPOSSIBLE" });
  await busy.end();
  assert.deepEqual([...new Set(busy.statuses)], [200]);
  assert.equal(codeOf(await ask(port, "no-such-model")), "model_not_found");
  assert.ok(!`${log.lines.join("\n")}${JSON.stringify(recorder.events)}`.includes(NEW));
});
