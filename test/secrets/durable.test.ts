/** Leases over the real store: limits under concurrency, a server that is killed and started again, a disk that fails. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLog, utf8 } from "../../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../../src/host/index.ts";
import { createSecretService } from "../../src/secrets/index.ts";
import { openStore, type RecordStore } from "../../src/store/index.ts";
import { KeptEvents, MemoryStore } from "./support.ts";

const by = { type: "Admin", id: "ada" };
const holder = { type: "Workload", id: "w" };
const ports = { clock: systemClock, random: systemRandom, log: silentLog };
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

function openFolder(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-leases-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const rootKey = () => GuardedBytes.take(new Uint8Array(32).fill(7));
  return () => openStore({ url: `sqlite:${join(folder, "store.db")}`, rootKey: rootKey(), ...ports });
}

const serviceOver = (store: RecordStore, recorder = new KeptEvents()) =>
  createSecretService({ ...ports, store, recorder });

test("of a hundred check-outs at once exactly as many succeed as the rule lets, on two replicas of one SQLite", async (t) => {
  const store = await openFolder(t)();
  const [one, two] = [await serviceOver(store), await serviceOver(store)];
  await one.put("k", utf8("value"), { by, rules: { maxLeases: 7 } });
  const tries = Array.from({ length: 100 }, (_, n) => (n % 2 ? one : two).lease("k", { holder }));
  const done = await Promise.allSettled(tries);
  const open = done.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const codes = new Set(done.flatMap((result) => (result.status === "rejected" ? [result.reason.code] : [])));
  assert.deepEqual([open.length, [...codes]], [7, ["LEASE_LIMIT"]]);
  await Promise.all(open.map((lease) => lease.checkIn()));
  assert.deepEqual(await two.listLeases(), []);
  await (await two.lease("k", { holder })).checkIn();
  await Promise.all([one.close(), two.close()]);
  await store.close();
});

test("what was handed out is there after a restart without an end, and ends at its time", async (t) => {
  const open = openFolder(t);
  const before = await open();
  const killed = await serviceOver(before);
  await killed.put("k", utf8("value"), { by });
  const [long, short] = [60, 2].map((ttlSeconds) => killed.lease("k", { holder, ttlSeconds }));
  const ids = [(await long)?.id ?? "", (await short)?.id ?? ""];
  // Not closed: as after kill -9 the store is all that is left.
  await before.close();
  const after = await open();
  const recorder = new KeptEvents();
  const next = await serviceOver(after, recorder);
  const { key, lease } = await next.use(ids[0] ?? "", holder);
  assert.deepEqual([key.use(text), lease.uses], ["value", 2]);
  const due = (await short)?.expiresAt ?? 0;
  while ((await next.listLeases()).length > 1) await sleep(20);
  const late = systemClock.now() - due;
  assert.ok(late >= 0 && late < 1_000, `${late} ms late`);
  await sleep(Math.max(0, due + 900 - systemClock.now()));
  assert.equal(recorder.events.filter(({ data }) => data?.ended === "expired").length, 1);
  await assert.rejects(next.renew(ids[1] ?? "", { holder }), { code: "LEASE_NOT_FOUND" });
  await next.checkIn(ids[0] ?? "", holder);
  await next.close();
  await after.close();
});

test("a disk that fails: no lease is given, none is held, and the next one works", async () => {
  const store = new MemoryStore();
  const recorder = new KeptEvents();
  const secrets = await serviceOver(store, recorder);
  await secrets.put("k", utf8("value"), { by });
  const { transaction } = store;
  store.transaction = () => Promise.reject(new Error("disk full"));
  const tries = await Promise.allSettled(Array.from({ length: 20 }, () => secrets.lease("k", { holder })));
  assert.ok(tries.every((one) => one.status === "rejected" && /disk full/.test(String(one.reason))));
  assert.deepEqual(secrets.findHeld(Buffer.from("value")), [], "a value stayed in memory");
  store.transaction = transaction;
  const lease = await secrets.lease("k", { holder });
  assert.equal(secrets.findHeld(Buffer.from("value")).length, 1);
  store.transaction = () => Promise.reject(new Error("disk full"));
  await assert.rejects(lease.checkIn(), /disk full/);
  assert.ok(lease.key.wiped);
  store.transaction = transaction;
  await secrets.close();
});
