/** Secrets and leases over HTTP: who may what, values only sealed, a new key tried before it is used. */
import assert from "node:assert/strict";
import * as http from "node:http";
import { type TestContext, test } from "node:test";
import * as contract from "../../src/contract/index.ts";
import { createReceiver, sealValue } from "../../src/secrets/index.ts";
import { listen } from "../gateway/support.ts";
import { startTestServer, type TestServer } from "../server/support.ts";

const NAME = "openai/prod";
const params = { name: NAME };

async function sealed({ admin }: TestServer, value: string) {
  const key = await admin.api.call(contract.getTransportKey, {});
  const receiver = { keyId: key.key_id, publicKey: key.public_key };
  const { keyId, enc, ciphertext } = sealValue(Buffer.from(value), receiver, { direction: "put", name: NAME });
  return { key_id: keyId, enc, ciphertext };
}

async function start(t: TestContext) {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const { api } = keep.admin;
  await api.call(contract.putSecret, { params, body: { sealed: await sealed(keep, "sk-first-key-0001") } });
  const { text, version } = await api.call(contract.getPolicy, {});
  const permit = `\n@id("all")\npermit (principal, action == Action::"checkoutSecret", resource);\n`;
  await api.call(contract.setPolicy, { body: { text: text + permit, if_version: version } });
  return { keep, api };
}

async function receiver() {
  const { key, open } = createReceiver();
  const body = { key_id: key.keyId, public_key: key.publicKey };
  const read = async ({ key_id: keyId, enc, ciphertext }: { key_id: string; enc: string; ciphertext: string }) =>
    Buffer.from(await open({ keyId, enc, ciphertext }, { direction: "checkout", name: NAME })).toString();
  return { body, read };
}

test("a lease is taken, used, renewed and ended by its holder, and by nobody else", async (t) => {
  const { keep, api } = await start(t);
  const [one, two] = [await keep.workload("one"), await keep.workload("two")];
  const { body, read } = await receiver();
  const taken = await one.api.call(contract.checkoutSecret, {
    params,
    body: { ...body, max_uses: 2, ttl_seconds: 60 },
  });
  assert.equal(await read(taken.sealed), "sk-first-key-0001");
  const id = { id: taken.lease.id };
  const again = await one.api.call(contract.useLease, { params: id, body });
  assert.deepEqual([await read(again.sealed), again.lease.uses], ["sk-first-key-0001", 2]);
  await assert.rejects(one.api.call(contract.useLease, { params: id, body }), { code: "LEASE_USED_UP" });
  const renewed = await one.api.call(contract.renewLease, { params: id, body: { ttl_seconds: 600 } });
  assert.ok(renewed.expires_at > taken.lease.expires_at);
  for (const route of [contract.useLease, contract.renewLease, contract.checkInLease])
    await assert.rejects(two.api.call(route as typeof contract.useLease, { params: id, body }), {
      code: "LEASE_NOT_FOUND",
    });
  for (const refused of [
    () => two.api.call(contract.revokeLeases, { body: { prefix: "openai/" } }),
    () => two.api.call(contract.setSecretRules, { params, body: { max_uses: 1 } }),
    () => two.api.call(contract.rollBackSecret, { params, body: {} }),
    () => two.api.call(contract.promoteSecret, { params, body: {} }),
    () => two.api.call(contract.retireSecret, { params, body: {} }),
    () => two.api.call(contract.linkSecret, { params, body: { driver: "x", reference: "y" } }),
  ])
    await assert.rejects(refused(), { code: "FORBIDDEN" });
  const { ended } = await api.call(contract.revokeLeases, { body: { principal: { type: "Workload", id: "one" } } });
  assert.deepEqual(ended, [taken.lease.id]);
  await assert.rejects(one.api.call(contract.checkInLease, { params: id }), { code: "LEASE_NOT_FOUND" });
  assert.ok(!keep.lines.join("").includes("sk-first-key"));
});

test("a rotation with a canary: refused it changes nothing, taken it is the current one", async (t) => {
  const { keep, api } = await start(t);
  const good = new Set(["sk-first-key-0001"]);
  const asked: string[] = [];
  const provider = http.createServer((req, res) => {
    asked.push(req.url ?? "");
    res.writeHead(good.has((req.headers.authorization ?? "").slice(7)) ? 200 : 401).end("{}");
  });
  const port = await listen(provider);
  t.after(() => {
    provider.closeAllConnections();
    provider.close();
  });
  const base_url = `http://127.0.0.1:${port}/v1`;
  const body = { kind: "openai" as const, base_url, secret: NAME, models: ["m"] };
  await api.call(contract.setProvider, { params: { name: "p" }, body });
  const rotate = async (value: string, more: object) =>
    api.call(contract.rotateSecret, { params, body: { sealed: await sealed(keep, value), ...more } });
  await assert.rejects(rotate("sk-second-key-0002", { canary: true }), { code: "CANARY_REFUSED" });
  const [after] = (await api.call(contract.listSecrets, {})).secrets;
  assert.deepEqual([after?.version, after?.candidate, after?.versions.length], [1, undefined, 1]);
  good.add("sk-second-key-0002");
  const taken = await rotate("sk-second-key-0002", { canary: true, grace_seconds: 60 });
  assert.deepEqual([taken.version, taken.versions.map(({ version }) => version)], [3, [1, 3]]);
  assert.ok(taken.grace_until && asked.every((path) => path === "/v1/models") && asked.length === 2);
  const staged = await rotate("sk-third-key-0003", { stage: true });
  assert.deepEqual([staged.version, staged.candidate], [3, 4]);
  await assert.rejects(api.call(contract.promoteSecret, { params, body: { canary: true } }), {
    code: "CANARY_REFUSED",
  });
  const back = await api.call(contract.rollBackSecret, { params, body: {} });
  assert.deepEqual([back.version, back.candidate], [3, undefined]);
  assert.equal((await api.call(contract.rollBackSecret, { params, body: {} })).version, 1);
  const { body: to, read } = await receiver();
  const { sealed: value } = await (await keep.workload("w")).api.call(contract.checkoutSecret, { params, body: to });
  assert.equal(await read(value), "sk-first-key-0001");
});
