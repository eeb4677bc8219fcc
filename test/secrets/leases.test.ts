/** What a lease may be and when it ends: rules, uses, renewals, revocations, restarts, clocks that jump, ten thousand at once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { silentLog, utf8 } from "../../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../../src/host/index.ts";
import { Deadlines } from "../../src/secrets/deadlines.ts";
import { createSecretService, SECRET_LIMITS, type SecretDriver } from "../../src/secrets/index.ts";
import { FakeClock, KeptEvents, MemoryShared, MemoryStore } from "./support.ts";

const by = { type: "Admin", id: "ada" };
const holder = { type: "Workload", id: "w" };
const other = { type: "Workload", id: "x" };
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

/** A clock whose date can be set without time going by. */
class JumpingClock {
  wall = 1_800_000_000_000;
  ticks = 5_000;
  now = () => this.wall;
  monotonic = () => this.ticks;
  pass(milliseconds: number): void {
    this.wall += milliseconds;
    this.ticks += milliseconds;
  }
}

async function setUp(shared = new MemoryShared(), clock = new JumpingClock()) {
  const recorder = new KeptEvents();
  const store = new MemoryStore(shared);
  const secrets = await createSecretService({ store, clock, random: systemRandom, recorder, log: silentLog });
  if (!(await secrets.find("a/one"))) await secrets.put("a/one", utf8("value"), { by });
  return { clock, recorder, store, secrets, shared };
}

test("the rules of a secret bound every lease of it", async () => {
  const { secrets } = await setUp();
  await secrets.setRules("a/one", { maxTtlSeconds: 60, maxUses: 2, maxLeases: 2, purposeRequired: true }, { by });
  await assert.rejects(secrets.lease("a/one", { holder }), { code: "LEASE_PURPOSE_INVALID" });
  for (const purpose of ["", "two\nlines", "x".repeat(201), "a\u2028b"])
    await assert.rejects(secrets.lease("a/one", { holder, purpose }), { code: "LEASE_PURPOSE_INVALID" });
  const lease = await secrets.lease("a/one", { holder, purpose: "nightly job", ttlSeconds: 600, maxUses: 5 });
  assert.deepEqual([lease.expiresAt - lease.issuedAt, lease.maxUses, lease.purpose], [60_000, 2, "nightly job"]);
  const { key } = await secrets.use(lease.id, holder);
  assert.equal(key.use(text), "value");
  key.wipe();
  await assert.rejects(secrets.use(lease.id, holder), { code: "LEASE_USED_UP" });
  await secrets.lease("a/one", { holder, purpose: "p" });
  await assert.rejects(secrets.lease("a/one", { holder, purpose: "p" }), { code: "LEASE_LIMIT" });
  await lease.checkIn();
  await secrets.lease("a/one", { holder, purpose: "p" });
  for (const rules of [{ maxTtlSeconds: 0 }, { maxUses: -1 }, { maxLeases: 1.5 }, { maxTtlSeconds: 3601 }])
    await assert.rejects(secrets.setRules("a/one", rules, { by }), { code: "LEASE_RULES_INVALID" });
  await secrets.close();
});

test("the limit of open leases holds for all replicas together, and places of the dead are given back", async () => {
  const shared = new MemoryShared();
  const [one, two] = [await setUp(shared), await setUp(shared)];
  await one.secrets.setRules("a/one", { maxLeases: 3 }, { by });
  const tries = Array.from({ length: 10 }, (_, n) => [one, two][n % 2]?.secrets.lease("a/one", { holder }));
  const done = await Promise.allSettled(tries);
  assert.equal(done.filter(({ status }) => status === "fulfilled").length, 3);
  // A record that vanished without its place: a crash between the two cannot happen, a deletion by hand can.
  const leases = shared.tables.get("leases");
  leases?.delete([...leases.keys()][0] ?? "");
  await two.secrets.lease("a/one", { holder });
  await assert.rejects(one.secrets.lease("a/one", { holder }), { code: "LEASE_LIMIT" });
  await Promise.all([one.secrets.close(), two.secrets.close()]);
});

test("a lease is renewed by its holder, to an end", async () => {
  const { secrets, clock, recorder } = await setUp();
  const lease = await secrets.lease("a/one", { holder, ttlSeconds: 100 });
  clock.pass(60_000);
  const renewed = await secrets.renew(lease.id, { holder, ttlSeconds: 100 });
  assert.deepEqual([renewed.expiresAt - lease.issuedAt, renewed.renewals], [160_000, 1]);
  const shorter = await secrets.renew(lease.id, { holder, ttlSeconds: 10 });
  assert.equal(shorter.expiresAt, renewed.expiresAt, "a renewal never shortens");
  await assert.rejects(secrets.renew(lease.id, { holder: other }), { code: "LEASE_NOT_FOUND" });
  await assert.rejects(secrets.renew(lease.id, { holder, ttlSeconds: 3601 }), { code: "LEASE_TTL_INVALID" });
  let rounds = 0;
  const renewForEver = async () => {
    for (; rounds < 100; rounds++) {
      await secrets.renew(lease.id, { holder, ttlSeconds: 3600 });
      clock.pass(3_000_000);
    }
  };
  await assert.rejects(renewForEver, { code: "LEASE_LIFE_OVER" });
  assert.ok(rounds >= 25 && rounds <= 30, `${rounds} renewals`);
  assert.equal(recorder.events.filter(({ action }) => action === "secret.renew").at(-1)?.outcome, "failed");
  await secrets.close();
});

test("revoked by lease, holder, secret and prefix: what was meant and nothing else", async () => {
  const { secrets, recorder } = await setUp();
  for (const name of ["a/two", "ab", "b/one"]) await secrets.put(name, utf8("value"), { by });
  const open = async () => {
    const of = async (name: string, who: typeof holder) => [
      `${name} ${who.id}`,
      await secrets.lease(name, { holder: who }),
    ];
    const names = ["a/one", "a/two", "ab", "b/one"];
    const all = names.flatMap((name) => [of(name, holder), of(name, other)]);
    return new Map((await Promise.all(all)) as [string, Awaited<ReturnType<typeof secrets.lease>>][]);
  };
  const cases = [
    [{ prefix: "a/" }, ["a/one w", "a/one x", "a/two w", "a/two x"]],
    [{ holder: other }, ["a/one x", "a/two x", "ab x", "b/one x"]],
    [{ secretName: "ab" }, ["ab w", "ab x"]],
    [{ prefix: "zz" }, []],
  ] as const;
  for (const [filter, expected] of cases) {
    const leases = await open();
    const ids = await secrets.revoke(filter, { by });
    const wiped = [...leases].filter(([, { key }]) => key.wiped).map(([name]) => name);
    assert.deepEqual([wiped.sort(), ids.length], [[...expected], expected.length]);
    await secrets.revoke({ prefix: "" }, { by });
    assert.deepEqual(await secrets.listLeases(), []);
  }
  await assert.rejects(secrets.revoke({ leaseId: "lease_0" }, { by }), { code: "LEASE_NOT_FOUND" });
  assert.equal(recorder.events.filter(({ action }) => action === "secret.revoke").length, 32);
  await secrets.close();
});

class OvertakenStore extends MemoryStore {
  /** What somebody does between a write and the moment in which the writer hears that it was done. */
  meanwhile: (() => void) | undefined;

  override async transaction<T>(work: Parameters<typeof MemoryStore.prototype.transaction<T>>[0]): Promise<T> {
    const result = await super.transaction(work);
    const { meanwhile } = this;
    this.meanwhile = undefined;
    meanwhile?.();
    if (meanwhile) await sleep(50);
    return result;
  }
}

test("a lease that is revoked while it is opened, here or on another replica, is not given out", async () => {
  const shared = new MemoryShared();
  const there = (await setUp(shared)).secrets;
  const [store, recorder] = [new OvertakenStore(shared), new KeptEvents()];
  const ports = { clock: new JumpingClock(), random: systemRandom, recorder, log: silentLog };
  const here = await createSecretService({ store, ...ports });
  for (const who of [here, there]) {
    const ended = Promise.withResolvers<readonly string[]>();
    store.meanwhile = () => ended.resolve(who.revoke({ secretName: "a/one" }, { by }));
    await assert.rejects(here.lease("a/one", { holder }), { code: "LEASE_NOT_FOUND" });
    assert.equal((await ended.promise).length, 1);
    assert.deepEqual(await here.listLeases(), []);
  }
  await (await here.lease("a/one", { holder })).checkIn();
  for (const service of [here, there]) await service.close();
});

test("a lease that was handed out survives a restart, is used and renewed, and ends within a second of its time", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const before = await setUp();
  const lease = await before.secrets.lease("a/one", { holder, ttlSeconds: 100 });
  lease.key.wipe();
  await before.secrets.close();
  const { secrets, shared, clock, recorder } = await setUp(before.shared, before.clock);
  const { key } = await secrets.use(lease.id, holder);
  assert.equal(key.use(text), "value");
  await assert.rejects(secrets.use(lease.id, other), { code: "LEASE_NOT_FOUND" });
  await secrets.renew(lease.id, { holder, ttlSeconds: 200 });
  clock.pass(199_999);
  t.mock.timers.tick(199_999);
  await settled();
  assert.equal(shared.tables.get("leases")?.size, 1);
  clock.pass(1_000);
  t.mock.timers.tick(1_000);
  await settled();
  assert.equal(shared.tables.get("leases")?.size, 0);
  assert.equal(recorder.events.at(-1)?.data?.ended, "expired");
});

test("no jump of the date makes a lease longer: while the server runs, and while it does not", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  const running = await setUp();
  for (const jump of [-86_400_000, 86_400_000 * 400]) {
    const lease = await running.secrets.lease("a/one", { holder, ttlSeconds: 100 });
    running.clock.wall += jump;
    running.clock.pass(99_999);
    t.mock.timers.tick(99_999);
    assert.equal(lease.key.wiped, false);
    running.clock.pass(1);
    t.mock.timers.tick(1);
    assert.equal(lease.key.wiped, true);
  }
  const { shared, clock } = running;
  const lease = await running.secrets.lease("a/one", { holder, ttlSeconds: 100 });
  lease.key.wipe();
  await running.secrets.close();
  await (await setUp(shared, clock)).secrets.close();
  t.mock.timers.reset();
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  clock.wall -= 3_000_000;
  const next = await setUp(shared, clock);
  clock.pass(101_000);
  t.mock.timers.tick(101_000);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(shared.tables.get("leases")?.size, 0);
  await next.secrets.close();
});

test("a renewal on another replica is heard, also without a message", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  const shared = new MemoryShared();
  const clock = new JumpingClock();
  const [one, two] = [await setUp(shared, clock), await setUp(shared, clock)];
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const heard = await one.secrets.lease("a/one", { holder, ttlSeconds: 100 });
  await two.secrets.renew(heard.id, { holder, ttlSeconds: 300 });
  await settled();
  two.store.notify = async () => undefined;
  const unheard = await one.secrets.lease("a/one", { holder, ttlSeconds: 100 });
  await two.secrets.renew(unheard.id, { holder, ttlSeconds: 300 });
  clock.pass(100_500);
  t.mock.timers.tick(100_500);
  await settled();
  assert.deepEqual([heard.key.wiped, unheard.key.wiped], [false, true]);
  assert.equal(shared.tables.get("leases")?.size, 2);
  await one.secrets.checkIn(unheard.id, holder);
  await one.secrets.close();
  await two.secrets.close();
});

test("ten thousand leases end within a second of their times, and cost nothing while they wait", async () => {
  const shared = new MemoryShared();
  const recorder = new KeptEvents();
  const ports = { store: new MemoryStore(shared), clock: systemClock, random: systemRandom, recorder, log: silentLog };
  const secrets = await createSecretService(ports);
  await secrets.put("k", utf8("value"), { by });
  const count = SECRET_LIMITS.openLeases;
  const leases = [];
  for (let n = 0; n < count; n++)
    leases.push(
      await secrets.lease("k", { holder: { type: "Workload", id: `w${n % 20}` }, ttlSeconds: n < 9000 ? 3600 : 4 }),
    );
  await assert.rejects(secrets.lease("k", { holder }), { code: "LEASE_LIMIT" });
  const due = leases.slice(9000).map(({ issuedAt }) => issuedAt + 4000);
  const first = Math.min(...due);
  const cpu = process.cpuUsage();
  const started = systemClock.monotonic();
  await sleep(Math.max(0, first - systemClock.now() - 100));
  const { user, system } = process.cpuUsage(cpu);
  const waited = systemClock.monotonic() - started;
  if (waited > 200) assert.ok((user + system) / 1000 < waited * 0.2, `${user + system} us of CPU in ${waited} ms`);
  assert.equal(leases.filter(({ key }) => key.wiped).length, 0);
  await sleep(Math.max(0, Math.max(...due) - systemClock.now() + 900));
  assert.equal(leases.filter(({ key }) => key.wiped).length, 1000);
  assert.equal((await secrets.listLeases()).length, 9000);
  await secrets.close();
});

test("property: every time comes once, in its order, never early, whatever is set, moved and taken out", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const step = fc.record({ id: fc.nat(8), at: fc.option(fc.nat(5_000), { nil: undefined }), pass: fc.nat(300) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clock = new FakeClock();
      const zero = clock.monotonic();
      const expected = new Map<string, number>();
      const deadlines = new Deadlines(clock, (ids) => {
        for (const id of ids) {
          assert.ok(
            (expected.get(id) ?? Number.POSITIVE_INFINITY) <= clock.monotonic(),
            `${id} is early or was taken out`,
          );
          expected.delete(id);
        }
      });
      for (const { id, at, pass } of steps) {
        const name = String(id);
        if (at === undefined) {
          deadlines.delete(name);
          expected.delete(name);
        } else {
          deadlines.set(name, zero + at);
          expected.set(name, zero + at);
        }
        clock.at += pass;
        t.mock.timers.tick(pass + 1);
        clock.at += 1;
        for (const [late, time] of expected) assert.ok(time >= clock.monotonic() - 2, `${late} did not come`);
        assert.equal(deadlines.size, expected.size);
      }
      deadlines.close();
      t.mock.timers.tick(10_000);
    }),
    { numRuns: 300 },
  );
});

test("what was lent to a holder who has the key ends upstream within a second, also when every message is lost", async () => {
  const shared = new MemoryShared();
  const given = { back: [] as string[], count: 0 };
  const driver: SecretDriver = {
    kind: "lender",
    async read() {
      const lease = { id: `up-${given.count++}`, ttlSeconds: 600, renewable: false };
      return { key: GuardedBytes.take(utf8("value")), lease };
    },
    async revoke(id) {
      given.back.push(id);
    },
  };
  const open = async () => {
    const store = new MemoryStore(shared);
    store.notify = async () => undefined;
    const ports = { clock: systemClock, random: systemRandom, recorder: new KeptEvents(), log: silentLog };
    return createSecretService({ ...ports, store, drivers: [driver] });
  };
  const [here, there] = [await open(), await open()];
  await here.link("lent", { driver: "lender", reference: "r" }, { by, rules: { unshared: true } });
  const leases = await Promise.all([holder, holder, other].map((who) => here.lease("lent", { holder: who })));
  for (const { key } of leases) key.wipe();
  const started = performance.now();
  assert.equal((await there.revoke({ holder }, { by })).length, 2);
  while (given.back.length < 2 && performance.now() - started < 3_000) await sleep(5);
  assert.deepEqual(given.back.sort(), ["up-0", "up-1"]);
  assert.ok(performance.now() - started < 1_000, `${performance.now() - started} ms`);
  assert.equal((await here.listLeases()).length, 1);
  await Promise.all([here.close(), there.close()]);
});

test("leases end by the key that took them, and those of its other keys stay", async () => {
  const { secrets } = await setUp();
  const one = await secrets.lease("a/one", { holder, boundTo: "key-1" });
  const two = await secrets.lease("a/one", { holder, boundTo: "key-2" });
  const foreign = await secrets.lease("a/one", { holder: other, boundTo: "key-1" });
  const unbound = await secrets.lease("a/one", { holder });
  assert.deepEqual(await secrets.revoke({ holder, boundTo: "key-1" }, { by }), [one.id]);
  assert.deepEqual(
    [one, two, foreign, unbound].map(({ key }) => key.wiped),
    [true, false, false, false],
  );
  await secrets.close();
});
