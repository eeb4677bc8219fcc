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
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { secrets, clock, recorder } = await setUp();
  await secrets.put("k", utf8("value"), { by });
  for (const ttlSeconds of [0, -1, 3601, 1.5, Number.NaN]) {
    await assert.rejects(secrets.lease("k", { holder, ttlSeconds }), { code: "LEASE_TTL_INVALID" });
  }
  const lease = await secrets.lease("k", { holder, ttlSeconds: 10 });
  clock.at += 9_999;
  t.mock.timers.tick(SECRET_LIMITS.sweepMilliseconds);
  assert.equal(lease.key.wiped, false);
  clock.at += 1;
  t.mock.timers.tick(SECRET_LIMITS.sweepMilliseconds);
  assert.equal(lease.key.wiped, true);
  await new Promise((resolve) => setImmediate(resolve));
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
