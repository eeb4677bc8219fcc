/** What a lease costs: check-outs a second on one core, ten thousand open leases, and how late their ends come. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openAuditLog } from "../src/audit/index.ts";
import { type Recorder, silentLog, utf8 } from "../src/base/index.ts";
import { GuardedBytes, guardedMemoryLevel, systemClock, systemRandom } from "../src/host/index.ts";
import {
  createReceiver,
  createSecretService,
  type Lease,
  type SecretService,
  sealValue,
} from "../src/secrets/index.ts";
import { openStore, type RecordStore } from "../src/store/index.ts";
import { KeptEvents, MemoryStore } from "../test/secrets/support.ts";

const ports = { clock: systemClock, random: systemRandom, log: silentLog };
const by = { type: "Admin", id: "bench" };
const ROUNDS = 6_000;
const AT_ONCE = 64;
const OPEN = 10_000;
/** The last of the open leases, which end together, in seconds from then. */
const DUE_SECONDS = 3;
const DUE = 1_000;
const IDLE_MS = 10_000;

type Row = Record<string, unknown>;

async function serviceOver(store: RecordStore, recorder: Recorder): Promise<SecretService> {
  const secrets = await createSecretService({ ...ports, store, recorder });
  await secrets.put("openai", utf8("sk-bench-0123456789abcdef0123456789abcdef"), { by });
  return secrets;
}

async function measure(what: string, count: number, work: (n: number) => Promise<unknown>): Promise<Row> {
  const times: number[] = [];
  const cpu = process.cpuUsage();
  const started = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) {
        const before = performance.now();
        await work(next++);
        times.push(performance.now() - before);
      }
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  times.sort((a, b) => a - b);
  const at = (part: number) => (times[Math.floor(times.length * part)] ?? Number.NaN).toFixed(2);
  return {
    what,
    "each second": Math.round(count / seconds),
    "CPU us each": ((user + system) / count).toFixed(0),
    "p50 ms": at(0.5),
    "p99 ms": at(0.99),
  };
}

const holderOf = (n: number) => ({ type: "Workload", id: `w${n % 50}` });

function checkOutAndIn(secrets: SecretService, what: string, count: number): Promise<Row> {
  return measure(what, count, async (n) => {
    const lease = await secrets.lease("openai", { holder: holderOf(n), ttlSeconds: 60 });
    await lease.checkIn();
  });
}

/** As the route does it: the value leaves sealed to the caller's key. */
async function sealed(secrets: SecretService, count: number): Promise<Row> {
  const { key } = createReceiver();
  return measure("the same, the value sealed to the caller, SQLite", count, async (n) => {
    const lease = await secrets.lease("openai", { holder: holderOf(n), ttlSeconds: 60 });
    lease.key.use((value) => sealValue(value, key, { direction: "checkout", name: "openai" }));
    await lease.checkIn();
  });
}

async function openMany(secrets: SecretService): Promise<Row[]> {
  const leases: Lease[] = [];
  const opened = await measure(`${OPEN} check-outs that stay open, memory`, OPEN, async (n) => {
    const ttlSeconds = n < OPEN - DUE ? 3600 : DUE_SECONDS;
    leases.push(await secrets.lease("openai", { holder: holderOf(n), ttlSeconds }));
  });
  const last = leases.slice(-DUE);
  const late = new Map<string, number>();
  while (late.size < last.length) {
    await sleep(2);
    for (const { id, key, expiresAt } of last)
      if (key.wiped && !late.has(id)) late.set(id, systemClock.now() - expiresAt);
  }
  const times = [...late.values()].sort((a, b) => a - b);
  const ended = {
    what: `late by, ${DUE} leases that end together`,
    "p50 ms": times[DUE / 2] ?? "",
    "p99 ms": times[Math.floor(DUE * 0.99)] ?? "",
  };
  await sleep(500);
  const cpu = process.cpuUsage();
  await sleep(IDLE_MS);
  const { user, system } = process.cpuUsage(cpu);
  const idle = { what: `${OPEN - DUE} open leases, idle, CPU us each second` };
  return [opened, ended, { ...idle, "CPU us each": Math.round((user + system) / (IDLE_MS / 1000)) }];
}

export async function run(): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-bench-"));
  const rootKey = GuardedBytes.take(systemRandom.bytes(32));
  const store = await openStore({ ...ports, url: `sqlite:${join(folder, "records.db")}`, rootKey });
  const audit = await openAuditLog({ store, ...ports, origin: "bench/secrets" });
  const recorder = new KeptEvents();
  setInterval(() => recorder.events.splice(0), 100).unref();
  const memory = await serviceOver(new MemoryStore(), recorder);
  const sqlite = await serviceOver(store, audit);
  // One lease stays open: the value is in use, and every further lease stands on it.
  const held = await Promise.all([memory, sqlite].map((one) => one.lease("openai", { holder: by })));
  await checkOutAndIn(memory, "warm up", ROUNDS / 4);
  const guarded = GuardedBytes.take(systemRandom.bytes(57));
  const uses = await measure(`one use of guarded memory, ${guardedMemoryLevel().level}`, ROUNDS * 20, async () =>
    guarded.use((bytes) => bytes[0]),
  );
  const rows = [
    { ...uses, "p50 ms": "", "p99 ms": "" },
    await checkOutAndIn(memory, "check-out and check-in, memory", ROUNDS * 2),
    await checkOutAndIn(sqlite, "check-out and check-in, SQLite, audit log", ROUNDS),
    await sealed(sqlite, ROUNDS),
  ];
  await Promise.all(held.map((lease) => lease.checkIn()));
  rows.push(...((await openMany(memory)) as typeof rows));
  await Promise.all([memory.close(), sqlite.close()]);
  await store.close();
  rmSync(folder, { recursive: true, force: true });
  return rows;
}
