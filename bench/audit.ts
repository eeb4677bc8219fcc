/** Events that the audit log makes durable in a second, by how many record at once, on SQLite and on PostgreSQL. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openAuditLog } from "../src/audit/index.ts";
import { silentLog } from "../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../src/host/index.ts";
import { openStore } from "../src/store/index.ts";
import { startCluster } from "../test/support/postgres.ts";

const SECONDS = Number(process.env.MODELKEEP_BENCH_SECONDS ?? "3");
const ports = { clock: systemClock, random: systemRandom, log: silentLog };
/** About what the gateway records of one request. */
const event = {
  action: "model.use",
  outcome: "allowed",
  principal: 'Workload::"billing-service"',
  resource: 'ProviderModel::"openai/gpt-5-mini"',
  reason: ["billing-uses-a-model"],
  data: { status: 200, prompt_tokens: 812, completion_tokens: 164, milliseconds: 913, lease: "0123456789abcdef" },
} as const;

async function measure(engine: string, url: string, recorders: number) {
  const store = await openStore({ url, rootKey: GuardedBytes.take(systemRandom.bytes(32)), ...ports });
  const audit = await openAuditLog({ store, ...ports, origin: "bench/audit" });
  const times: number[] = [];
  const started = performance.now();
  const cpu = process.cpuUsage();
  const until = started + SECONDS * 1000;
  await Promise.all(
    Array.from({ length: recorders }, async () => {
      while (performance.now() < until) {
        const before = performance.now();
        await audit.record(event);
        times.push(performance.now() - before);
      }
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await audit.close();
  await store.close();
  times.sort((a, b) => a - b);
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? 0).toFixed(2);
  return {
    store: engine,
    recorders,
    "events/s": Math.round(times.length / seconds),
    "p50 ms": at(0.5),
    "p99 ms": at(0.99),
    "CPU µs/event": Math.round((user + system) / times.length),
  };
}

export async function run(): Promise<readonly Record<string, unknown>[]> {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-bench-"));
  const cluster = await startCluster();
  const rows: Record<string, unknown>[] = [];
  try {
    for (const recorders of [1, 64, 512]) {
      rows.push(await measure("SQLite", `sqlite:${join(folder, `${recorders}.db`)}`, recorders));
    }
    for (const recorders of cluster ? [1, 64, 512] : []) {
      rows.push(await measure("PostgreSQL", cluster?.createDatabase() ?? "", recorders));
    }
  } finally {
    await cluster?.destroy();
    rmSync(folder, { recursive: true, force: true });
  }
  return rows;
}
