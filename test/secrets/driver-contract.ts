/** What every driver of secrets must keep to; a driver's own test calls `testDriver` with a keeper it can look into. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLog } from "../../src/base/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { createSecretService, SECRET_LIMITS, type SecretDriver } from "../../src/secrets/index.ts";
import { FakeClock, KeptEvents, MemoryShared, MemoryStore } from "./support.ts";

export interface DriverCase {
  readonly driver: SecretDriver;
  /** Under which the driver can read `value`. */
  readonly reference: string;
  /** What the driver reads there; undefined when it makes a value for each lease. */
  readonly value?: Uint8Array;
  /** Of the right form, but there is nothing; absent where the keeper does not tell that from what it does not allow. */
  readonly absent?: string;
  /** For drivers with `check`: of no form that it reads. */
  readonly invalid?: string;
  /** Ids of the leases that the keeper holds open now; absent where it lends nothing. */
  openLeases?(): Promise<readonly string[]>;
  /** What is lent cannot be taken back before its time: `openLeases` tells what was lent. */
  readonly endsByItself?: boolean;
  /** Changes what `reference` reads; for values that stand still elsewhere. */
  change?(): Promise<void>;
  close?(): Promise<void>;
}

const by = { type: "Admin", id: "ada" };
const holder = { type: "Workload", id: "w" };
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** `missing` says what is not here, and how to have it; then nothing is opened. */
export function testDriver(name: string, open: () => Promise<DriverCase>, missing?: () => string | undefined): void {
  const check: Check = (what, work) =>
    test(`driver ${name}: ${what}`, async (t) => {
      const lacking = missing?.();
      if (lacking !== undefined) return t.skip(lacking);
      const one = await open();
      try {
        await work(one, t);
      } finally {
        await one.close?.();
      }
    });
  testValues(check);
  testLending(check);
}

type Check = (what: string, work: (one: DriverCase, t: TestContext) => Promise<void>) => void;

function testValues(check: Check): void {
  check("a value comes in guarded memory that is the caller's own", async ({ driver, reference, value }) => {
    const first = await driver.read(reference, { ttlSeconds: 60 });
    const second = await driver.read(reference, { ttlSeconds: 60 });
    const got = first.key.use(text);
    assert.ok(got.length > 0 && got.length <= SECRET_LIMITS.valueBytes);
    if (value) assert.equal(got, text(value));
    first.key.wipe();
    assert.equal(second.key.wiped, false);
    second.key.wipe();
    for (const { lease } of [first, second]) if (lease) await driver.revoke?.(lease.id);
  });
  check("what is not there is SECRET_NOT_FOUND, and no form of words makes it something else", async (one) => {
    const { driver, absent, invalid } = one;
    if (absent !== undefined) {
      await assert.rejects(driver.read(absent, { ttlSeconds: 60 }), { code: "SECRET_NOT_FOUND" });
      driver.check?.(absent);
    }
    if (invalid === undefined) return;
    assert.throws(() => driver.check?.(invalid), { code: "SECRET_REFERENCE_INVALID" });
  });
  check("what lends can be asked to renew and to take back, by id alone", async (one) => {
    const { driver, reference, openLeases, endsByItself = false } = one;
    const { key, lease } = await driver.read(reference, { ttlSeconds: 60 });
    key.wipe();
    assert.equal(lease !== undefined, openLeases !== undefined);
    if (!lease) return;
    assert.ok(lease.id.length > 0 && lease.id.length <= SECRET_LIMITS.upstreamIdCharacters && lease.ttlSeconds > 0);
    assert.ok((await openLeases?.())?.includes(lease.id));
    if (lease.renewable) assert.ok(((await driver.renew?.(lease.id, 30)) ?? 0) > 0);
    await driver.revoke?.(lease.id);
    assert.equal((await openLeases?.())?.includes(lease.id), endsByItself);
    await driver.revoke?.(lease.id);
  });
}

async function serviceOver({ driver, reference }: DriverCase, shared = new MemoryShared(), linked = false) {
  const clock = new FakeClock();
  const ports = { store: new MemoryStore(shared), clock, random: systemRandom, recorder: new KeptEvents() };
  const secrets = await createSecretService({ ...ports, log: silentLog, drivers: [driver] });
  if (!linked) await secrets.link("s", { driver: driver.kind, reference }, { by });
  return { secrets, shared, clock };
}

function testLending(check: Check): void {
  check("many callers stand on one lease upstream, which is given back with the last of them", async (one) => {
    const { secrets, shared } = await serviceOver(one);
    const leases = await Promise.all(Array.from({ length: 20 }, () => secrets.lease("s", { holder, ttlSeconds: 30 })));
    const values = new Set(leases.map(({ key }) => key.use(text)));
    assert.equal(values.size, 1);
    if (one.openLeases) assert.equal((await one.openLeases()).length, 1);
    for (const lease of leases.slice(1)) await lease.checkIn();
    if (one.openLeases) assert.equal((await one.openLeases()).length, 1);
    await leases[0]?.checkIn();
    await secrets.close();
    if (one.openLeases && !one.endsByItself) assert.deepEqual(await one.openLeases(), []);
    assert.equal(shared.tables.get("upstream-leases")?.size ?? 0, 0);
  });
  check("where a rule says so, every lease has its own upstream", async (one) => {
    const { secrets } = await serviceOver(one);
    await secrets.setRules("s", { unshared: true }, { by });
    const leases = [await secrets.lease("s", { holder }), await secrets.lease("s", { holder })];
    if (one.openLeases) assert.equal((await one.openLeases()).length, 2);
    await leases[0]?.checkIn();
    await secrets.revoke({ secretName: "s" }, { by });
    await secrets.close();
    if (one.openLeases && !one.endsByItself) assert.deepEqual(await one.openLeases(), []);
  });
  check("what was changed where it is kept is noticed, and the next lease has it", async (one, t) => {
    if (!one.change) return;
    t.mock.timers.enable({ apis: ["setInterval"] });
    const { secrets, clock } = await serviceOver(one);
    const changed: string[] = [];
    secrets.onChange((name) => changed.push(name));
    const before = await secrets.lease("s", { holder });
    const look = async (seconds: number) => {
      clock.at += seconds * 1000;
      t.mock.timers.tick(SECRET_LIMITS.lookMilliseconds);
      await sleep(150);
    };
    await look(SECRET_LIMITS.keeperFreshSeconds);
    assert.deepEqual(changed, [], "nothing was changed yet");
    await one.change();
    await look(SECRET_LIMITS.keeperFreshSeconds);
    assert.deepEqual(changed, ["s"]);
    const after = await secrets.lease("s", { holder });
    assert.notEqual(after.key.use(text), before.key.use(text));
    for (const { key } of [before, after])
      assert.equal(secrets.findHeld(Buffer.from(key.use(text))).length > 0, true, "both are masked in the log");
    await before.checkIn();
    assert.equal(before.key.wiped && !after.key.wiped, true);
    await secrets.close();
  });
  check("what a killed process had been lent is given back by the next one", async (one, t) => {
    t.mock.timers.enable({ apis: ["setInterval"] });
    const { openLeases } = one;
    const killed = await serviceOver(one);
    const { key } = await killed.secrets.lease("s", { holder, ttlSeconds: 60 });
    key.wipe();
    t.mock.timers.reset();
    t.mock.timers.enable({ apis: ["setInterval"] });
    const next = await serviceOver(one, killed.shared, true);
    const [lease] = await next.secrets.listLeases();
    if (openLeases) assert.equal((await openLeases()).length, 1);
    await next.secrets.checkIn(lease?.id ?? "", holder);
    // At two looks one after the other: the first may come while a lease is being made.
    for (let look = 0; look < 2; look++) {
      next.clock.at += SECRET_LIMITS.storeSweepMilliseconds;
      t.mock.timers.tick(SECRET_LIMITS.lookMilliseconds);
      await sleep(100);
    }
    if (openLeases && !one.endsByItself) assert.deepEqual(await openLeases(), []);
    assert.equal(killed.shared.tables.get("upstream-leases")?.size ?? 0, 0);
    await next.secrets.close();
  });
}
