/** Searches a running gateway for a provider key: its memory, its heap snapshot, its disk, its environment, its words. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import type * as http from "node:http";
import * as https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { guardedMemoryLevel } from "../../src/host/index.ts";
import { sealValue, type TransportKey } from "../../src/secrets/index.ts";
import { ask, createUpstream, listen } from "./support.ts";

interface Hit {
  readonly form: string;
  readonly region: string;
  readonly locked: boolean;
  readonly dumped: boolean;
}

function formsOf(key: string): Map<string, Buffer> {
  return new Map([
    ["whole", Buffer.from(key)],
    ["fragment", Buffer.from(key.slice(10, 30))],
    ["utf-16", Buffer.from(key.slice(10, 30), "utf16le")],
    ["base64", Buffer.from(Buffer.from(key.slice(9, 36)).toString("base64"))],
  ]);
}

/** Reads every readable page of another process through /proc/PID/mem, as root would. */
function scan(pid: number, key: string): { hits: Hit[]; bytes: number } {
  const smaps = fs.readFileSync(`/proc/${pid}/smaps`, "latin1").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/);
  const mem = fs.openSync(`/proc/${pid}/mem`, "r");
  const block = Buffer.alloc(4 * 1024 * 1024 + 256);
  const hits: Hit[] = [];
  let bytes = 0;
  for (const entry of smaps) {
    const [, from = "0", to = "0"] = /^([0-9a-f]+)-([0-9a-f]+)/.exec(entry) ?? [];
    if (/\[vvar|\[vsyscall/.test(entry)) continue;
    const flags = /VmFlags:(.*)/.exec(entry)?.[1] ?? "";
    for (let at = BigInt(`0x${from}`); at < BigInt(`0x${to}`); at += 4n * 1024n * 1024n) {
      const left = Number(BigInt(`0x${to}`) - at);
      let read = 0;
      try {
        read = fs.readSync(mem, block, 0, Math.min(left, block.length), at);
      } catch {
        continue;
      }
      bytes += read;
      for (const [form, needle] of formsOf(key)) {
        for (let i = block.indexOf(needle); i >= 0 && i + needle.length <= read; i = block.indexOf(needle, i + 1)) {
          if (i >= 4 * 1024 * 1024) break;
          hits.push({
            form,
            region: entry.split("\n")[0] ?? "",
            locked: / lo\b/.test(flags),
            dumped: !/ dd\b/.test(flags),
          });
        }
      }
    }
  }
  fs.closeSync(mem);
  return { hits, bytes };
}

function makeCertificate(folder: string): { key: Buffer; cert: Buffer } | undefined {
  try {
    const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    const files = ["-keyout", join(folder, "tls.key"), "-out", join(folder, "tls.crt")];
    execFileSync("openssl", [...args, ...files, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], {
      stdio: "ignore",
    });
    return { key: fs.readFileSync(join(folder, "tls.key")), cert: fs.readFileSync(join(folder, "tls.crt")) };
  } catch {
    return undefined;
  }
}

function talkTo(child: ChildProcess) {
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let next = 1;
  child.on("message", (message: { id: number; reply: never; error?: string }) => {
    const who = waiting.get(message.id);
    if (message.error) who?.reject(new Error(message.error));
    else who?.resolve(message.reply);
  });
  child.on("exit", (code) => {
    for (const who of waiting.values()) who.reject(new Error(`the child ended with ${code}`));
  });
  const heard = <T>(id: number) =>
    new Promise<T>((resolve, reject) => waiting.set(id, { resolve: resolve as never, reject }));
  return {
    ready: heard<TransportKey>(0),
    send<T>(message: Record<string, unknown>): Promise<T> {
      const id = next++;
      const reply = heard<T>(id);
      child.send({ id, ...message });
      return reply;
    },
  };
}

function canRead(pid: number): boolean {
  try {
    fs.readFileSync(`/proc/${pid}/smaps`);
    fs.closeSync(fs.openSync(`/proc/${pid}/mem`, "r"));
    return true;
  } catch {
    return false;
  }
}

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
  const child = fork(program, [folder], { execArgv: [], silent: false });
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
  const look = () => scan(child.pid ?? 0, key);
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
