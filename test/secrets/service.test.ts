/** Secrets and leases: versions, times, revocation on replicas, and what is left of a key afterwards. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog, utf8 } from "../../src/base/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { createSecretService, SECRET_LIMITS } from "../../src/secrets/index.ts";
import { FakeClock, KeptEvents, MemoryShared, MemoryStore } from "./support.ts";

const by = { type: "Admin", id: "ada" };
const holder = { type: "Workload", id: "w" };

async function setUp(shared = new MemoryShared()) {
  const clock = new FakeClock();
  const recorder = new KeptEvents();
  const store = new MemoryStore(shared);
  const secrets = await createSecretService({ store, clock, random: systemRandom, recorder, log: silentLog });
  return { clock, recorder, store, secrets, shared };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

test("a value is wiped when it is put, and comes back only in guarded memory", async (t) => {
  const { secrets, recorder } = await setUp();
  t.after(() => secrets.close());
  const value = utf8("sk-canary-0001");
  const info = await secrets.put("openai", value, { about: "for tests", by });
  assert.equal(info.version, 1);
  assert.deepEqual([...new Set(value)], [0]);
  const lease = await secrets.lease("openai", { holder, ttlSeconds: 60 });
  assert.equal(lease.key.use(text), "sk-canary-0001");
  await lease.checkIn();
  await lease.checkIn();
  assert.ok(lease.key.wiped);
  assert.throws(() => lease.key.use(text), { code: "MEMORY_WIPED" });
  assert.deepEqual(recorder.actions(), ["secret.put", "secret.lease", "secret.checkin"]);
  assert.ok(!JSON.stringify(recorder.events).includes("sk-canary"));
});

test("rotation makes versions, keeps two values, and leaves open leases their own", async (t) => {
  const { secrets, shared } = await setUp();
  t.after(() => secrets.close());
  const heard: string[] = [];
  secrets.onChange((name) => heard.push(name));
  await secrets.put("k", utf8("value-1"), { by });
  const old = await secrets.lease("k", { holder });
  for (const n of [2, 3, 4]) await secrets.rotate("k", utf8(`value-${n}`), { by });
  const fresh = await secrets.lease("k", { holder });
  assert.equal(old.key.use(text), "value-1");
  assert.equal(fresh.key.use(text), "value-4");
  assert.deepEqual(
    (await secrets.find("k"))?.versions.map((v) => v.version),
    [3, 4],
  );
  assert.equal(shared.tables.get("secret-values")?.size, SECRET_LIMITS.keptVersions);
  assert.equal(heard.length, 4);
  await assert.rejects(secrets.rotate("none", utf8("x"), { by }), { code: "SECRET_NOT_FOUND" });
});

test("times: no lease over an hour, the end by either clock wipes", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  const { secrets, clock, recorder } = await setUp();
  await secrets.put("k", utf8("value"), { by });
  for (const ttlSeconds of [0, -1, 3601, 1.5, Number.NaN]) {
    await assert.rejects(secrets.lease("k", { holder, ttlSeconds }), { code: "LEASE_TTL_INVALID" });
  }
  const lease = await secrets.lease("k", { holder, ttlSeconds: 10 });
  clock.at += 9_999;
  t.mock.timers.tick(9_999);
  assert.equal(lease.key.wiped, false);
  clock.at += 1;
  t.mock.timers.tick(1);
  assert.equal(lease.key.wiped, true);
  await settled();
  assert.deepEqual(await secrets.listLeases(), []);
  assert.equal(recorder.events.at(-1)?.data?.ended, "expired");
  await secrets.close();
});

test("a lease is revoked on the replica that holds it", async (t) => {
  const shared = new MemoryShared();
  const one = await setUp(shared);
  const two = await setUp(shared);
  t.after(async () => {
    await one.secrets.close();
    await two.secrets.close();
  });
  await one.secrets.put("k", utf8("value"), { by });
  const lease = await one.secrets.lease("k", { holder });
  assert.deepEqual(
    (await two.secrets.listLeases()).map((l) => l.id),
    [lease.id],
  );
  await two.secrets.revokeLease(lease.id, { by });
  assert.ok(lease.key.wiped);
  await assert.rejects(two.secrets.revokeLease(lease.id, { by }), { code: "LEASE_NOT_FOUND" });
  assert.ok(two.recorder.actions().includes("secret.revoke"));
  const other = await one.secrets.lease("k", { holder });
  await assert.rejects(two.secrets.checkIn(other.id, { type: "Workload", id: "thief" }), { code: "LEASE_NOT_FOUND" });
  await two.secrets.delete("k", { by });
  assert.ok(other.key.wiped);
});

test("nothing is lent that is not written down, and nothing after the end", async () => {
  const { secrets, recorder, shared } = await setUp();
  await secrets.put("k", utf8("value"), { by });
  recorder.broken = true;
  await assert.rejects(secrets.lease("k", { holder }), /disk full/);
  await assert.rejects(secrets.put("k", utf8("other"), { by }), /disk full/);
  assert.deepEqual(await secrets.listLeases(), []);
  assert.equal(shared.tables.get("secret-values")?.size, 1);
  recorder.broken = false;
  const lease = await secrets.lease("k", { holder });
  await secrets.close();
  assert.ok(lease.key.wiped);
  await assert.rejects(secrets.lease("k", { holder }), { code: "SECRETS_CLOSED" });
});

test("bad names and values change nothing", async (t) => {
  const { secrets, shared } = await setUp();
  t.after(() => secrets.close());
  for (const name of ["", "../x", "a b", "-a", "a".repeat(101), "a\n"]) {
    await assert.rejects(secrets.put(name, utf8("v"), { by }), { code: "SECRET_NAME_INVALID" });
  }
  await assert.rejects(secrets.put("k", new Uint8Array(0), { by }), { code: "SECRET_VALUE_INVALID" });
  const large = new Uint8Array(SECRET_LIMITS.valueBytes + 1).fill(1);
  await assert.rejects(secrets.put("k", large, { by }), { code: "SECRET_VALUE_INVALID" });
  assert.equal(large[0], 0);
  assert.equal(shared.tables.get("secret-values")?.size ?? 0, 0);
});

test("two writers at once: one wins, no value is mixed up or left behind", async (t) => {
  const { secrets, shared } = await setUp();
  t.after(() => secrets.close());
  await secrets.put("k", utf8("first"), { by });
  const results = await Promise.allSettled(["a", "b"].map((v) => secrets.rotate("k", utf8(`value-${v}`), { by })));
  const lost = results.filter((result) => result.status === "rejected");
  assert.equal(lost.length, 1);
  assert.equal(lost[0]?.reason.code, "SECRET_CHANGED");
  assert.equal(shared.tables.get("secret-values")?.size, 2);
});

test("one holder cannot take the room of all, and a lease that was refused leaves nothing", async (t) => {
  const { secrets, recorder, shared } = await setUp();
  t.after(() => secrets.close());
  await secrets.put("k", utf8("value"), { by });
  const room = SECRET_LIMITS.openLeasesPerHolder;
  const greedy = Array.from({ length: room + 20 }, () => secrets.lease("k", { holder }));
  const refused = (await Promise.allSettled(greedy)).filter((result) => result.status === "rejected");
  assert.deepEqual([refused.length, refused[0]?.reason.code], [20, "LEASE_LIMIT"]);
  await assert.rejects(secrets.lease("k", { holder }), { code: "LEASE_LIMIT" });
  assert.equal(shared.tables.get("leases")?.size, room);
  const outcomes = recorder.events.filter((event) => event.action === "secret.lease").map((event) => event.outcome);
  const count = (outcome: string) => outcomes.filter((one) => one === outcome).length;
  assert.equal(count("allowed") - count("failed"), room);
  const other = await secrets.lease("k", { holder: { type: "Server", id: "gateway" } });
  await other.checkIn();
  const [first] = await secrets.listLeases();
  await secrets.revokeLease(first?.id ?? "", { by });
  await secrets.lease("k", { holder });
});

test("leases of a process that was killed do not stay for ever, and the end of every lease is recorded", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  const shared = new MemoryShared();
  const killed = await setUp(shared);
  await killed.secrets.put("k", utf8("value"), { by });
  const { id } = await killed.secrets.lease("k", { holder, ttlSeconds: 60 });
  t.mock.timers.reset();
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  const next = await setUp(shared);
  const until = 60_000 + SECRET_LIMITS.abandonedMilliseconds;
  next.clock.at += until - 1;
  t.mock.timers.tick(until - 1);
  await settled();
  assert.equal(shared.tables.get("leases")?.size, 1);
  next.clock.at += 1;
  t.mock.timers.tick(1);
  await settled();
  assert.equal(shared.tables.get("leases")?.size, 0);
  assert.deepEqual(next.recorder.events.at(-1)?.data, { lease: id, ended: "expired" });
  const open = await next.secrets.lease("k", { holder });
  await next.secrets.close();
  assert.deepEqual(next.recorder.events.at(-1)?.data, { lease: open.id, ended: "closed" });
});

test("what failed is not left in the log as allowed, and a record that may be there keeps its value", async (t) => {
  const { secrets, recorder, store, shared } = await setUp();
  t.after(() => secrets.close());
  await secrets.put("k", utf8("first"), { by });
  const put = store.put.bind(store);
  store.put = async (table, id, value, condition) => {
    const version = await put(table, id, value, condition);
    if (table === "secrets") throw new Error("the connection broke after the commit");
    return version;
  };
  await assert.rejects(secrets.rotate("k", utf8("second"), { by }), /after the commit/);
  store.put = put;
  const { action, outcome, reason } = recorder.events.at(-1) ?? {};
  assert.deepEqual([action, outcome, reason], ["secret.rotate", "failed", ["INTERNAL"]]);
  const lease = await secrets.lease("k", { holder });
  assert.equal(lease.key.use(text), "second");
  const lost = await Promise.allSettled(["a", "b"].map((v) => secrets.rotate("k", utf8(v), { by })));
  assert.equal(lost.filter(({ status }) => status === "rejected").length, 1);
  assert.deepEqual(recorder.events.filter((event) => event.outcome === "failed").at(-1)?.reason, ["VERSION_CONFLICT"]);
  assert.equal(shared.tables.get("secret-values")?.size, SECRET_LIMITS.keptVersions);
});

test("a lease that was revoked and a secret that was rotated are found without a message", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  const shared = new MemoryShared();
  const [one, two] = [await setUp(shared), await setUp(shared)];
  const heard: string[] = [];
  one.secrets.onChange((name) => heard.push(name));
  two.store.notify = async () => undefined;
  const look = async () => {
    one.clock.at += SECRET_LIMITS.lookMilliseconds;
    t.mock.timers.tick(SECRET_LIMITS.lookMilliseconds);
    await settled();
  };
  await one.secrets.put("k", utf8("value-1"), { by });
  const [revoked, old] = [await one.secrets.lease("k", { holder }), await one.secrets.lease("k", { holder })];
  heard.length = 0;
  await look();
  assert.deepEqual([revoked.key.wiped, heard], [false, []]);
  await two.secrets.revokeLease(revoked.id, { by });
  await two.secrets.rotate("k", utf8("value-2"), { by });
  await look();
  assert.deepEqual([revoked.key.wiped, old.key.wiped, heard], [true, false, ["k"]]);
  await one.secrets.lease("k", { holder });
  await look();
  assert.deepEqual(heard, ["k"]);
  await Promise.all([one.secrets.close(), two.secrets.close()]);
});
