/** Searches a running gateway for a provider key: its memory, its heap snapshot, its disk, its environment, its words. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import type * as http from "node:http";
import * as https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { scanFile } from "../../src/cli/leak-test/scan.ts";
import { SMALL_CORE_FLAGS } from "../../src/cli/leak-test/stage.ts";
import { guardedMemoryLevel } from "../../src/host/index.ts";
import { sealValue } from "../../src/secrets/index.ts";
import { canRead, dumpCore, formsOf, makeCertificate, scan, talkTo } from "./memory-support.ts";
import { ask, createUpstream, listen } from "./support.ts";

async function attack(t: TestContext, tls: boolean): Promise<void> {
  if (process.platform !== "linux" || !canRead(process.pid))
    return t.skip("needs Linux and the right to read /proc/PID/mem: run as root");
  const folder = fs.mkdtempSync(join(tmpdir(), "modelkeep-memory-"));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const certificate = tls ? makeCertificate(folder) : undefined;
  if (tls && !certificate) return t.skip("needs the openssl command: apt-get install openssl");
  const upstream = createUpstream();
  const [handler] = upstream.server.listeners("request") as http.RequestListener[];
  const server = certificate ? https.createServer(certificate, handler) : upstream.server;
  const upstreamPort = await listen(server as http.Server);
  const program = fileURLToPath(new URL("memory-child.ts", import.meta.url));
  const child = fork(program, [folder], { execArgv: SMALL_CORE_FLAGS, silent: false });
  t.after(() => {
    child.kill("SIGKILL");
    server.closeAllConnections();
    server.close();
  });
  const { ready, send } = talkTo(child);
  const key = `sk-canary-${randomBytes(24).toString("hex")}`;
  const sealed = sealValue(Buffer.from(key), await ready, { direction: "put", name: "openai-key" });
  const baseUrl = certificate ? `https://localhost:${upstreamPort}/v1` : `http://127.0.0.1:${upstreamPort}/v1`;
  const { port } = await send<{ port: number }>({
    do: "start",
    baseUrl,
    sealed,
    ...(certificate ? { ca: String(certificate.cert) } : {}),
  });
  const look = () => scan(child.pid ?? 0, formsOf(key));
  const say = (when: string, { hits, bytes }: ReturnType<typeof scan>) =>
    t.diagnostic(
      `${when}: ${hits.filter((hit) => hit.form === "whole").length} whole, ${hits.length} in any form, ${bytes >> 20} MiB read`,
    );

  const put = look();
  say("after put", put);
  assert.deepEqual(put.hits, []);

  for (let round = 0; round < 25; round++) {
    const models = ["small", "small", "stream", "small", "echo-500", "small", "midway", "small", "redirect", "small"];
    const answers = await Promise.all(models.map((model) => ask(port, model)));
    assert.ok(answers.every((got) => !got.raw.includes(key.slice(10, 30))));
  }
  assert.ok(
    upstream.seen.length >= 250 && upstream.seen.every((seen) => seen.headers.authorization === `Bearer ${key}`),
  );
  const open = ask(port, "slow-stream");
  await new Promise((resolve) => setTimeout(resolve, 300));
  const during = look();
  say("while checked out, 250 requests, one stream open", during);
  const { level, hint } = guardedMemoryLevel();
  t.diagnostic(`guarded memory: ${level}${hint === undefined ? "" : `; one copy is possible here; ${hint}`}`);
  const possible = level === "secret" ? 0 : 1;
  assert.ok(during.hits.filter((hit) => hit.form === "whole").length <= possible, JSON.stringify(during.hits));
  assert.ok(
    during.hits.every((hit) => hit.locked && !hit.dumped),
    JSON.stringify(during.hits),
  );
  const core = dumpCore(child.pid ?? 0, folder);
  if (core) assert.deepEqual(scanFile(core, [...formsOf(key).values()]), { copies: 0, bytes: fs.statSync(core).size });
  t.diagnostic(`core file while checked out: ${core ? "no copy" : "not made: apt-get install gdb"}`);
  if (core) fs.rmSync(core);
  const snapshot = await send<{ path: string }>({ do: "snapshot", name: "held.heapsnapshot" });
  assert.ok(!fs.readFileSync(snapshot.path).includes(key.slice(10, 30)));
  await open;

  assert.deepEqual(await send({ do: "checkin" }), { leases: 0 });
  const after = look();
  say("after check-in", after);
  assert.deepEqual(after.hits, []);
  const said = await send<{ text: string }>({ do: "said" });
  assert.ok(said.text.length > 10_000 && !said.text.includes(key.slice(10, 30)));
  for (const name of ["environ", "cmdline"])
    assert.ok(!fs.readFileSync(`/proc/${child.pid}/${name}`).includes(key.slice(10, 30)));
  for (const name of fs.readdirSync(folder))
    assert.ok(!fs.readFileSync(join(folder, name)).includes(key.slice(10, 30)), name);

  // The search itself must be able to find: the same key as an ordinary string.
  await send({ do: "hold", hex: Buffer.from(key).toString("hex") });
  const control = look();
  say("control, an ordinary string", control);
  assert.ok(control.hits.some((hit) => !hit.locked));
  const seen = await send<{ path: string }>({ do: "snapshot", name: "control.heapsnapshot" });
  assert.ok(fs.readFileSync(seen.path).includes(key.slice(10, 30)));
}

test("a provider key over http is found in no memory that can be read", { timeout: 300_000 }, (t) => attack(t, false));
test("a provider key over TLS is found in no memory that can be read", { timeout: 300_000 }, (t) => attack(t, true));
