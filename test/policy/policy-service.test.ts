/** The stored policy: what is set is checked, recorded, versioned, and reaches every replica. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type AuditEvent, type Caller, ModelkeepError, silentLog, utf8 } from "../../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../../src/host/index.ts";
import { DEFAULT_POLICY } from "../../src/policy/index.ts";
import { createPolicyService, type PolicyService } from "../../src/server/policy-service.ts";
import { policyRoutes } from "../../src/server/routes/policy.ts";
import { openStore, type RecordStore } from "../../src/store/index.ts";

const folder = await mkdtemp(join(tmpdir(), "modelkeep-policy-"));
const open: { close(): unknown }[] = [];
after(async () => {
  for (const one of open.reverse()) await one.close();
  await rm(folder, { recursive: true, force: true });
});

const admin: Caller = {
  principal: { type: "Admin", id: "ada" },
  groups: ["admins"],
  tokenId: "t",
  expiresAt: 0,
  keyThumbprint: "k",
};
const workload: Caller = { ...admin, principal: { type: "Workload", id: "demo" }, groups: [] };
const MORE = `${DEFAULT_POLICY}\n@id("demo") permit(principal == Workload::"demo", action == Action::"useModel", resource);`;
const useModel = {
  principal: workload.principal,
  groups: [],
  action: "useModel",
  resource: { type: "ProviderModel", id: "p/m" },
  context: {},
};

const code = (wanted: string) => (error: unknown) => error instanceof ModelkeepError && error.code === wanted;

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 600 && !holds(); i++) await new Promise((r) => setTimeout(r, 5));
  assert.ok(holds());
}

let count = 0;
async function newStore(): Promise<RecordStore> {
  const rootKey = GuardedBytes.take(systemRandom.bytes(32));
  const url = `sqlite:${join(folder, `${++count}.db`)}`;
  const store = await openStore({ url, rootKey, clock: systemClock, random: systemRandom, log: silentLog });
  open.push(store);
  return store;
}

async function serviceOn(store: RecordStore, events: AuditEvent[] = []): Promise<PolicyService> {
  const recorder = { record: async (event: AuditEvent) => void events.push(event) };
  const service = await createPolicyService({ store, recorder, clock: systemClock, log: silentLog });
  open.push(service);
  return service;
}

test("a new server has the default policy, version 0", async () => {
  const service = await serviceOn(await newStore());
  assert.deepEqual([service.current().version, service.current().text], [0, DEFAULT_POLICY]);
  assert.equal(service.authorizer().decide(useModel).allowed, false);
});

test("a policy that was set decides at once, is recorded, survives, and has its history", async () => {
  const store = await newStore();
  const events: AuditEvent[] = [];
  const service = await serviceOn(store, events);
  const before = service.authorizer();
  const stored = await service.set(MORE, { by: admin, ifVersion: 0 });
  assert.equal(stored.version, 1);
  assert.notEqual(service.authorizer(), before);
  assert.equal(service.authorizer().decide(useModel).allowed, true);
  assert.deepEqual(
    events.map(({ action, outcome, principal }) => [action, outcome, principal]),
    [["policy.set", "allowed", 'Admin::"ada"']],
  );
  await service.set(DEFAULT_POLICY, { by: admin });
  assert.equal((await serviceOn(store)).current().version, 2);
  assert.equal((await service.version(1))?.text, MORE);
  assert.equal((await service.version(0))?.text, DEFAULT_POLICY);
  assert.equal(await service.version(9), undefined);
});

test("what is not valid, not current or locks out is refused and changes nothing", async () => {
  const service = await serviceOn(await newStore());
  const { digest } = service.current();
  await assert.rejects(service.set("permit(principal, action);", { by: admin }), code("POLICY_INVALID"));
  await assert.rejects(
    service.set('permit(principal, action == Action::"fly", resource);', { by: admin }),
    code("POLICY_INVALID"),
  );
  await assert.rejects(service.set(MORE, { by: admin, ifVersion: 3 }), code("POLICY_CHANGED"));
  await assert.rejects(service.set("", { by: admin }), code("POLICY_LOCKS_OUT"));
  assert.equal(service.current().digest, digest);
  await service.set("", { by: admin, allowLockout: true });
  assert.equal(
    service.authorizer().decide({ ...useModel, action: "managePolicy", resource: { type: "Server", id: "local" } })
      .allowed,
    false,
  );
});

test("of many changes at once on one version exactly one is made", async () => {
  const store = await newStore();
  const replicas = [await serviceOn(store), await serviceOn(store)];
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => replicas[i % 2]?.set(`${MORE}// ${i}`, { by: admin, ifVersion: 0 })),
  );
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
});

test("another replica decides by the new policy within a second", async () => {
  const store = await newStore();
  const [here, there] = [await serviceOn(store), await serviceOn(store)];
  const started = performance.now();
  await here?.set(MORE, { by: admin });
  while (!there?.authorizer().decide(useModel).allowed) {
    assert.ok(performance.now() - started < 1000, "longer than a second");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(there?.current().version, 1);
});

test("a change that cannot be recorded is not made", async () => {
  const store = await newStore();
  const recorder = { record: () => Promise.reject(new Error("full")) };
  const service = await createPolicyService({ store, recorder, clock: systemClock, log: silentLog });
  open.push(service);
  await assert.rejects(service.set(MORE, { by: admin }));
  assert.equal((await serviceOn(store)).current().version, 0);
});

test("a stored policy that cannot be read refuses everything", async () => {
  const store = await newStore();
  const service = await serviceOn(store);
  const server = {
    ...useModel,
    principal: admin.principal,
    groups: ["admins"],
    action: "enrol",
    resource: { type: "Server", id: "local" },
  };
  assert.equal(service.authorizer().decide(server).allowed, true);
  await store.put("policy", "current", utf8('{"text":"permit(","set_by":"x","set_at":1}'));
  await store.notify("policy", "1");
  for (let i = 0; i < 200 && service.authorizer().decide(server).allowed; i++)
    await new Promise((r) => setTimeout(r, 5));
  assert.equal(service.authorizer().decide(server).allowed, false);
});

test("a policy that could not be read decides again once it can be, told or not", async () => {
  const store = await newStore();
  const service = await serviceOn(store);
  await service.set(MORE, { by: admin });
  const good = (await store.get("policy", "current"))?.value;
  assert.ok(good);
  await store.put("policy", "current", utf8("{}"));
  await store.notify("policy", "2");
  await until(() => !service.authorizer().decide(useModel).allowed);
  await store.put("policy", "current", good);
  await until(() => service.authorizer().decide(useModel).allowed);
});

test("a replica that no message reaches decides by the new policy all the same, and keeps an old one's decisions", async () => {
  const store = await newStore();
  const replica = await serviceOn(store);
  const deaf = new Proxy(store, {
    get: (target, name) => (name === "notify" ? async () => undefined : Reflect.get(target, name).bind(target)),
  });
  const before = replica.authorizer();
  const writer = await serviceOn(deaf);
  await store.notify("policy", "0");
  await new Promise((r) => setTimeout(r, 20));
  assert.equal(replica.authorizer(), before);
  await writer.set(MORE, { by: admin });
  await until(() => replica.authorizer().decide(useModel).allowed);
});

test("of two reads under way the older answer does not bring an older policy back", async () => {
  const store = await newStore();
  let late: Promise<void> | undefined;
  const slow = new Proxy(store, {
    get(target, name) {
      if (name !== "get") return Reflect.get(target, name).bind(target);
      return async (table: string, id: string) => {
        const [record, wait] = [await target.get(table, id), late];
        late = undefined;
        await wait;
        return record;
      };
    },
  });
  const replica = await serviceOn(slow);
  const writer = await serviceOn(store);
  const gate = Promise.withResolvers<void>();
  late = gate.promise;
  await writer.set(MORE, { by: admin });
  await writer.set(DEFAULT_POLICY, { by: admin });
  await until(() => replica.current().version === 2);
  gate.resolve();
  await new Promise((r) => setTimeout(r, 20));
  assert.equal(replica.current().version, 2);
  assert.equal(replica.authorizer().decide(useModel).allowed, false);
});

test("the routes ask for managePolicy, and a refusal is recorded", async () => {
  const policy = await serviceOn(await newStore());
  const events: AuditEvent[] = [];
  const [get, put] = policyRoutes({ policy, recorder: { record: async (event) => void events.push(event) } });
  const request = (body: unknown) => ({ params: {}, body, method: "GET", url: "http://x/", header: () => undefined });
  await assert.rejects(async () => get?.handle(request({}), workload), code("FORBIDDEN"));
  await assert.rejects(async () => put?.handle(request({ text: MORE }), workload), code("FORBIDDEN"));
  const refused = ["policy.managePolicy", "refused", 'Workload::"demo"'];
  assert.deepEqual(
    events.map(({ action, outcome, principal }) => [action, outcome, principal]),
    [refused, refused],
  );
  const stored = put?.route.reply.parse(await put.handle(request({ text: MORE, if_version: 0 }), admin));
  assert.deepEqual(get?.route.reply.parse(await get.handle(request({}), admin)), stored);
});
