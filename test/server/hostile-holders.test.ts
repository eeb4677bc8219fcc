/** Holders that want more than policy gives: old leases after policy has changed, other people's ids, all of the room. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { silentLog, utf8 } from "../../src/base/index.ts";
import * as contract from "../../src/contract/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { createReceiver, createSecretService, SECRET_LIMITS, sealValue } from "../../src/secrets/index.ts";
import { codeOf } from "../sealing/support.ts";
import { KeptEvents, MemoryStore } from "../secrets/support.ts";
import { startTestServer } from "./support.ts";

const NAME = "openai/prod";
const PERMIT = `\n@id("reports")\npermit (principal, action == Action::"checkoutSecret", resource)\n  when { context has purpose && context.purpose == "reports" };\n`;

async function start(t: TestContext) {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const { api } = keep.admin;
  const key = await api.call(contract.getTransportKey, {});
  const to = { keyId: key.key_id, publicKey: key.public_key };
  const { keyId, enc, ciphertext } = sealValue(utf8("sk-canary-0001"), to, { direction: "put", name: NAME });
  const body = { sealed: { key_id: keyId, enc, ciphertext } };
  await api.call(contract.putSecret, { params: { name: NAME }, body });
  const { text, version } = await api.call(contract.getPolicy, {});
  await api.call(contract.setPolicy, { body: { text: text + PERMIT, if_version: version } });
  const { key: mine } = createReceiver();
  const receiver = { key_id: mine.keyId, public_key: mine.publicKey };
  return { keep, api, receiver, before: text };
}

test("a lease from before a change of policy is neither prolonged nor shown again, and can be given back", async (t) => {
  const { keep, api, receiver, before } = await start(t);
  const app = await keep.workload("app");
  const body = { ...receiver, ttl_seconds: 60, purpose: "reports" };
  const { lease } = await app.api.call(contract.checkoutSecret, { params: { name: NAME }, body });
  const params = { id: lease.id };
  await app.api.call(contract.useLease, { params, body: receiver });
  await app.api.call(contract.renewLease, { params, body: { ttl_seconds: 120 } });
  const { version } = await api.call(contract.getPolicy, {});
  await api.call(contract.setPolicy, { body: { text: before, if_version: version } });
  assert.equal(await codeOf(() => app.api.call(contract.useLease, { params, body: receiver })), "FORBIDDEN");
  assert.equal(await codeOf(() => app.api.call(contract.renewLease, { params, body: {} })), "FORBIDDEN");
  const [open] = (await api.call(contract.listLeases, {})).leases;
  assert.deepEqual([open?.uses, open?.renewals], [2, 1]);
  await app.api.call(contract.checkInLease, { params });
  assert.deepEqual((await api.call(contract.listLeases, {})).leases, []);
});

test("an id of somebody else's lease is no lease, and says nothing of policy", async (t) => {
  const { keep, receiver } = await start(t);
  const [app, thief] = [await keep.workload("app"), await keep.workload("thief")];
  const body = { ...receiver, purpose: "reports" };
  const { lease } = await app.api.call(contract.checkoutSecret, { params: { name: NAME }, body });
  for (const id of [lease.id, lease.id.toUpperCase(), `${lease.id}x`, "lease_", "../secrets"])
    for (const route of [contract.useLease, contract.renewLease, contract.checkInLease])
      assert.equal(
        await codeOf(() => thief.api.call(route as typeof contract.useLease, { params: { id }, body: receiver })),
        "LEASE_NOT_FOUND",
        id,
      );
});

test("workloads that hold every place of the process do not stop the gateway", async () => {
  const ports = { clock: systemClock, random: systemRandom, recorder: new KeptEvents(), log: silentLog };
  const secrets = await createSecretService({ ...ports, store: new MemoryStore() });
  await secrets.put("k", utf8("value"), { by: { type: "Admin", id: "ada" } });
  const { openLeases, openLeasesPerHolder } = SECRET_LIMITS;
  const each = async (n: number) => {
    const holder = { type: "Workload", id: `w${n}` };
    await Promise.all(Array.from({ length: openLeasesPerHolder }, () => secrets.lease("k", { holder })));
  };
  for (let n = 0; n < openLeases / openLeasesPerHolder; n++) await each(n);
  const late = { type: "Workload", id: "late" };
  assert.equal(await codeOf(() => secrets.lease("k", { holder: late })), "LEASE_LIMIT");
  const own = await secrets.lease("k", { holder: { type: "Server", id: "gateway" } });
  assert.equal(own.key.length, 5);
  await secrets.close();
});
