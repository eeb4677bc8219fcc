/** The driver contract, kept by the embedded driver and by a keeper in memory that lends; and a keeper that fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog, utf8 } from "../../src/base/index.ts";
import { GuardedBytes, systemRandom } from "../../src/host/index.ts";
import { createEmbeddedDriver } from "../../src/secrets/drivers/embedded.ts";
import { createSecretService, type SecretDriver, secretError } from "../../src/secrets/index.ts";
import { testDriver } from "./driver-contract.ts";
import { FakeClock, KeptEvents, MemoryShared, MemoryStore } from "./support.ts";

const by = { type: "Admin", id: "ada" };
const holder = { type: "Workload", id: "w" };

/** Lends a new value each time, as the engines of Vault for databases and clouds do. */
class Lender implements SecretDriver {
  readonly kind = "lender";
  readonly open = new Set<string>();
  readonly renewed: number[] = [];
  ttlSeconds = 600;
  renewable = true;
  broken = false;
  #count = 0;
  check(reference: string): void {
    if (!reference.startsWith("role/")) throw secretError("SECRET_REFERENCE_INVALID");
  }
  async read(reference: string) {
    if (reference === "role/absent") throw secretError("SECRET_NOT_FOUND");
    const id = `lease/${++this.#count}`;
    this.open.add(id);
    const lease = { id, ttlSeconds: this.ttlSeconds, renewable: this.renewable };
    return { key: GuardedBytes.take(utf8(`value-of-${id}`)), lease };
  }
  async renew(id: string, ttlSeconds: number): Promise<number> {
    if (this.broken || !this.open.has(id)) throw new Error("upstream is away");
    this.renewed.push(ttlSeconds);
    return ttlSeconds;
  }
  async revoke(id: string): Promise<void> {
    if (this.broken) throw new Error("upstream is away");
    this.open.delete(id);
  }
}

/** The embedded driver under another name: what is linked is not what is put. */
testDriver("embedded", async () => {
  const embedded = createEmbeddedDriver({ store: new MemoryStore(), random: systemRandom });
  const value = utf8("sk-canary-embedded");
  using guarded = GuardedBytes.take(new Uint8Array(value));
  const reference = await embedded.write(guarded);
  return { driver: { ...embedded, kind: "other" }, reference, value, absent: "0".repeat(32) };
});

testDriver("lender", async () => {
  const driver = new Lender();
  const openLeases = async () => [...driver.open];
  return { driver, reference: "role/app", absent: "role/absent", invalid: "app", openLeases };
});

async function setUp(driver = new Lender()) {
  const shared = new MemoryShared();
  const clock = new FakeClock();
  const ports = { store: new MemoryStore(shared), clock, random: systemRandom, recorder: new KeptEvents() };
  const secrets = await createSecretService({ ...ports, log: silentLog, drivers: [driver] });
  await secrets.link("db", { driver: "lender", reference: "role/app" }, { by });
  return { secrets, driver, clock, shared };
}

test("no lease outlives what it stands on: it is renewed upstream, or shorter", async () => {
  const { secrets, driver, clock } = await setUp();
  const first = await secrets.lease("db", { holder, ttlSeconds: 300 });
  clock.at += 400_000;
  const second = await secrets.lease("db", { holder, ttlSeconds: 300 });
  assert.deepEqual([driver.open.size, driver.renewed], [1, [300]]);
  await secrets.renew(second.id, { holder, ttlSeconds: 900 });
  assert.deepEqual(driver.renewed, [300, 900]);
  driver.renewable = false;
  driver.ttlSeconds = 50;
  await secrets.setRules("db", { unshared: true }, { by });
  const short = await secrets.lease("db", { holder, ttlSeconds: 300 });
  assert.equal(short.expiresAt - short.issuedAt, 50_000);
  await assert.rejects(secrets.use(first.id, holder), { code: "LEASE_NOT_FOUND" });
  await secrets.close();
});

test("a keeper that is away: the lease ends here all the same, and is given back when it answers again", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { secrets, driver, clock, shared } = await setUp();
  const lease = await secrets.lease("db", { holder });
  driver.broken = true;
  await lease.checkIn();
  assert.ok(lease.key.wiped);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([driver.open.size, shared.tables.get("upstream-leases")?.size], [1, 1]);
  driver.broken = false;
  for (let look = 0; look < 2; look++) {
    clock.at += 60_000;
    t.mock.timers.tick(5_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual([driver.open.size, shared.tables.get("upstream-leases")?.size], [0, 0]);
  await secrets.close();
});

test("what was handed out stays lent over a restart, and is given back when its holder is done", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { secrets, driver, clock, shared } = await setUp();
  const lease = await secrets.lease("db", { holder });
  const kept = await secrets.lease("db", { holder: { type: "Server", id: "gateway" } });
  lease.key.wipe();
  await secrets.close();
  assert.ok(kept.key.wiped);
  assert.equal(driver.open.size, 1);
  const ports = { store: new MemoryStore(shared), clock, random: systemRandom, recorder: new KeptEvents() };
  const next = await createSecretService({ ...ports, log: silentLog, drivers: [driver] });
  await assert.rejects(next.use(lease.id, holder), { code: "LEASE_USED_UP" });
  await next.renew(lease.id, { holder, ttlSeconds: 777 });
  assert.equal(driver.renewed.at(-1), 777);
  await next.checkIn(lease.id, holder);
  for (let look = 0; look < 2; look++) {
    clock.at += 60_000;
    t.mock.timers.tick(5_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(driver.open.size, 0);
  await next.close();
});

test("a driver that is not there, and a reference that it cannot read, make no secret", async () => {
  const { secrets } = await setUp();
  for (const [driver, reference, code] of [
    ["vault", "kv/a", "SECRET_DRIVER_UNKNOWN"],
    ["embedded", "0".repeat(32), "SECRET_DRIVER_UNKNOWN"],
    ["lender", "elsewhere", "SECRET_REFERENCE_INVALID"],
    ["lender", "", "SECRET_REFERENCE_INVALID"],
    ["lender", `role/${"x".repeat(1000)}`, "SECRET_REFERENCE_INVALID"],
  ] as const)
    await assert.rejects(secrets.link("other", { driver, reference }, { by }), { code });
  assert.equal(await secrets.find("other"), undefined);
  await secrets.link("gone", { driver: "lender", reference: "role/absent" }, { by });
  await assert.rejects(secrets.lease("gone", { holder }), { code: "SECRET_NOT_FOUND" });
  assert.deepEqual(await secrets.listLeases(), []);
  await secrets.close();
});
