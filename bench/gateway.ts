/** The gateway's cost: requests a second and added time against the same provider asked directly, in one run. */
import { type ChildProcess, fork } from "node:child_process";
import * as http from "node:http";
import { fileURLToPath } from "node:url";
import { utf8 } from "../src/base/index.ts";
import { createGateway, createProviderService } from "../src/gateway/index.ts";
import { systemClock, systemRandom } from "../src/host/index.ts";
import { createSecretService } from "../src/secrets/index.ts";
import { allowAllBut, authenticateTest, by, listen, TOKEN } from "../test/gateway/support.ts";
import { KeptEvents, MemoryStore } from "../test/secrets/support.ts";

const REPLY = Buffer.from(
  JSON.stringify({
    choices: [{ message: { content: "x".repeat(650) } }],
    usage: { prompt_tokens: 1, completion_tokens: 2 },
  }),
);
const log = { debug() {}, info() {}, warn() {}, error() {} };

/** The provider, as small as Node can make it. */
async function runProvider(): Promise<number> {
  return listen(
    http.createServer((req, res) => {
      req.resume().on("end", () => {
        res.writeHead(200, { "content-type": "application/json", "content-length": REPLY.length });
        res.end(REPLY);
      });
    }),
  );
}

async function runGateway(baseUrl: string): Promise<number> {
  const recorder = new KeptEvents();
  setInterval(() => recorder.events.splice(0), 100).unref();
  const ports = { store: new MemoryStore(), recorder, log, clock: systemClock, random: systemRandom };
  const secrets = await createSecretService(ports);
  await secrets.put("k", utf8("sk-bench-0123456789abcdef0123456789abcdef0123456789"), { by });
  const providers = await createProviderService(ports);
  await providers.set({ name: "p", kind: "openai", baseUrl, secret: "k", models: ["m"] }, { by });
  const policy = allowAllBut("none");
  const limits = { principalRequestsPerMinute: 1e9 };
  const gateway = createGateway({
    ...ports,
    providers,
    secrets,
    authorizer: () => policy,
    authenticate: authenticateTest,
    limits,
  });
  return listen(http.createServer((req, res) => gateway.handle(req, res)));
}

if (process.argv[2] === "provider") process.send?.({ port: await runProvider() });
if (process.argv[2] === "gateway") {
  process.on("message", () => process.send?.({ cpu: process.cpuUsage(), rss: process.memoryUsage.rss() }));
  process.send?.({ port: await runGateway(process.argv[3] ?? "") });
}

const once = <T>(child: ChildProcess) =>
  new Promise<T>((resolve) => child.once("message", (message) => resolve(message as T)));

function start(...args: string[]): ChildProcess {
  return fork(fileURLToPath(import.meta.url), args);
}

interface Load {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly requests: number;
}

async function load(port: number, connections: number, milliseconds: number): Promise<Load> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "y".repeat(300) }] });
  const times: number[] = [];
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const started = performance.now();
      const headers = {
        "content-type": "application/json",
        "content-length": body.length,
        authorization: `Bearer ${TOKEN}`,
      };
      const req = http.request(
        { port, host: "127.0.0.1", agent, method: "POST", path: "/v1/chat/completions", headers },
        (res) => {
          if (res.statusCode !== 200) reject(new Error(`status ${res.statusCode}`));
          res.resume().on("end", () => {
            times.push(performance.now() - started);
            resolve();
          });
        },
      );
      req.on("error", reject);
      req.end(body);
    });
  const until = performance.now() + milliseconds;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (performance.now() < until) await one();
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  times.sort((a, b) => a - b);
  const at = (part: number) => times[Math.floor(times.length * part)] ?? Number.NaN;
  return { perSecond: times.length / seconds, p50: at(0.5), p99: at(0.99), requests: times.length };
}

/** Rows of direct and through the gateway, for 1 and 10 connections. */
export async function run(): Promise<readonly Record<string, unknown>[]> {
  const provider = start("provider");
  const { port: providerPort } = await once<{ port: number }>(provider);
  const gateway = start("gateway", `http://127.0.0.1:${providerPort}/v1`);
  const { port } = await once<{ port: number }>(gateway);
  const usage = async () => {
    const reply = once<{ cpu: NodeJS.CpuUsage; rss: number }>(gateway);
    gateway.send("usage");
    return reply;
  };
  await load(port, 10, 1500);
  await load(providerPort, 10, 500);
  const rows: Record<string, unknown>[] = [];
  for (const connections of [1, 10]) {
    const direct = await load(providerPort, connections, 3000);
    const before = await usage();
    const through = await load(port, connections, 3000);
    const after = await usage();
    const cpu = after.cpu.user + after.cpu.system - before.cpu.user - before.cpu.system;
    rows.push({
      connections,
      "direct req/s": Math.round(direct.perSecond),
      "gateway req/s": Math.round(through.perSecond),
      "direct p50 ms": direct.p50.toFixed(3),
      "gateway p50 ms": through.p50.toFixed(3),
      "added p50 ms": (through.p50 - direct.p50).toFixed(3),
      "gateway p99 ms": through.p99.toFixed(2),
      "CPU us/request": (cpu / through.requests).toFixed(1),
      "RSS MiB": Math.round(after.rss / 2 ** 20),
    });
  }
  provider.kill();
  gateway.kill();
  return rows;
}
