/** What was acknowledged survives kill -9, a database that goes away, and a full disk. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openAuditLog, verifyExport } from "../../src/audit/index.ts";
import { silentLog, utf8 } from "../../src/base/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { code, Engines, failsWith, open, POSTGRES_MISSING } from "./support.ts";

const engines = new Engines();
before(() => engines.start());
after(() => engines.stop());

const ROUNDS = Number(process.env.MODELKEEP_CRASH_ROUNDS ?? "4");
const child = fileURLToPath(new URL("writer-child.ts", import.meta.url));
const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString("utf8");

interface Writer {
  readonly process: ChildProcess;
  acknowledged(): number;
  readonly gone: Promise<void>;
}

function startWriter(url: string, first: number): Writer {
  const started = spawn(process.execPath, [child, url, String(first)], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  started.stdout.on("data", (chunk) => {
    out += chunk;
  });
  const gone = new Promise<void>((resolve) => started.once("close", () => resolve()));
  // A number counts once its newline is there: the kill may cut the last one.
  return { process: started, acknowledged: () => Number(out.split("\n").slice(0, -1).at(-1) ?? "-1"), gone };
}

async function sleep(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function untilAcknowledged(writer: Writer): Promise<void> {
  const end = Date.now() + 20_000;
  while (writer.acknowledged() < 0) {
    if (writer.process.exitCode !== null || Date.now() > end) throw new Error("the writer did not start");
    await sleep(5);
  }
}

/** Every acknowledged triple is there, no triple is there in part, and the log verifies with an event for each. */
async function checkAll(url: string, first: number, acknowledged: number): Promise<number> {
  const store = await open(url);
  try {
    // In one transaction: PostgreSQL may still commit what the killed writer had sent.
    const newest = await store.transaction(async (tx) => {
      const last = Number(text((await tx.get("kept", "newest"))?.value));
      assert.ok(last >= acknowledged + 2, `acknowledged ${acknowledged + 2}, kept ${last}`);
      assert.equal(last % 3, 2);
      for (let n = first; n <= last; n++)
        assert.equal(text((await tx.get("kept", String(n).padStart(9, "0")))?.value), `value ${n}`);
      assert.equal(await tx.get("kept", String(last + 1).padStart(9, "0")), undefined);
      return last;
    });
    const ports = { clock: systemClock, random: systemRandom, log: silentLog };
    const audit = await openAuditLog({ store, ...ports, origin: "test/audit" });
    const events = new Set<number>();
    const lines: Uint8Array[] = [];
    for await (const line of audit.exportLines()) lines.push(line.subarray(0, -1));
    for (const line of lines.slice(1, -1)) events.add(JSON.parse(Buffer.from(line).toString()).event.data.n as number);
    for (let n = first; n <= acknowledged; n += 3) assert.ok(events.has(n), `the event ${n} is lost`);
    assert.equal((await verifyExport(yielded(lines))).verdict, "accepted");
    await audit.close();
    return newest + 1;
  } finally {
    await store.close();
  }
}

async function* yielded<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

for (const name of ["SQLite", "PostgreSQL"] as const) {
  test(`${name}: kill -9 of the writer at any moment loses nothing acknowledged`, async (t) => {
    const engine = name === "SQLite" ? engines.sqlite() : engines.postgres();
    if (!engine) return t.skip(POSTGRES_MISSING);
    const url = engine.fresh();
    let first = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const writer = startWriter(url, first);
      await untilAcknowledged(writer);
      await sleep(Math.random() * 150);
      writer.process.kill("SIGKILL");
      await writer.gone;
      first = await checkAll(url, first, writer.acknowledged());
    }
    assert.ok(first >= 3 * ROUNDS);
  });
}

test("PostgreSQL: kill -9 of the database loses nothing acknowledged, and the store finds it again", async (t) => {
  const [engine, cluster] = [engines.postgres(), engines.cluster];
  if (!engine || !cluster) return t.skip(POSTGRES_MISSING);
  const url = engine.fresh();
  const writer = startWriter(url, 0);
  await untilAcknowledged(writer);
  const store = await open(url);
  t.after(() => store.close());
  const [heard, gaps]: [string[], number[]] = [[], []];
  await store.subscribe(
    "news",
    (message) => void heard.push(message),
    () => void gaps.push(heard.length),
  );
  await store.notify("news", "before");
  await sleep(200);
  await cluster.crash();
  await writer.gone;
  assert.equal(await store.ping().catch(code), "STORE_UNREACHABLE");
  assert.equal(await store.put("t", "a", utf8("x")).catch(code), "STORE_UNREACHABLE");
  assert.equal(await open(url).catch(code), "STORE_UNREACHABLE");
  await cluster.start();
  await untilTrue(async () => (await store.put("t", "a", utf8("back")).catch(() => 0)) > 0);
  await untilTrue(async () => {
    await store.notify("news", "after").catch(() => undefined);
    await sleep(50);
    return heard.includes("after");
  });
  assert.ok(gaps.length >= 2, "the subscriber is told that messages may be missing, and again when they come");
  await checkAll(url, 0, writer.acknowledged());
});

async function untilTrue(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("it did not happen within 20 s");
    await sleep(50);
  }
}

test("SQLite: a full disk refuses the write, keeps what was acknowledged, and goes on when there is room", async (t) => {
  const folder = join(engines.folder, "full");
  mkdirSync(folder);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], { encoding: "utf8" });
  if (mounted.status !== 0) return t.skip(`a small tmpfs cannot be mounted: run as root (${mounted.stderr.trim()})`);
  t.after(() => spawnSync("umount", ["-l", folder]));
  const url = `sqlite:${join(folder, "store.db")}`;
  const store = await open(url);
  const kept: string[] = [];
  const filled = async () => {
    for (let n = 0; n < 1_000; n++) {
      await store.put("t", `r${n}`, new Uint8Array(20_000).fill(n));
      kept.push(`r${n}`);
    }
  };
  await assert.rejects(filled(), failsWith("STORE_FULL"));
  assert.ok(kept.length > 3);
  await assert.rejects(store.put("t", "more", new Uint8Array(100_000)), failsWith("STORE_FULL"));
  for (const id of kept) assert.equal((await store.get("t", id))?.value.length, 20_000);
  const listed = (await store.list("t")).records.map(({ id }) => id).sort();
  assert.deepEqual(listed, [...kept].sort());
  spawnSync("mount", ["-o", "remount,size=8m", folder]);
  assert.equal(await store.put("t", "more", new Uint8Array(100_000)), 1);
  await store.close();
  const again = await open(url);
  assert.equal((await again.list("t")).records.length, kept.length + 1);
  await again.close();
});

test("SQLite: a file that is no database, and a damaged one, say so", async () => {
  const folder = mkdtempSync(join(engines.folder, "damaged-"));
  writeFileSync(join(folder, "text.db"), "this is no database, but it is long enough to be read as one ".repeat(100));
  assert.equal(await open(`sqlite:${join(folder, "text.db")}`).catch(code), "STORE_TAMPERED");
  const path = join(folder, "store.db");
  const store = await open(`sqlite:${path}`);
  for (let n = 0; n < 100; n++) await store.put("t", `r${n}`, new Uint8Array(2_000).fill(n));
  await store.close();
  const bytes = readFileSync(path);
  bytes.fill(0x5a, 8_192, 60_000);
  writeFileSync(path, bytes);
  const answer = await open(`sqlite:${path}`)
    .then((damaged) => damaged.list("t").finally(() => damaged.close()))
    .catch(code);
  assert.equal(answer, "STORE_TAMPERED");
});
