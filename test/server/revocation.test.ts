/** What ends with a token: the leases that were taken with it, here, on other replicas, and where they were lent. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Caller } from "../../src/base/index.ts";
import * as contract from "../../src/contract/index.ts";
import { createReceiver } from "../../src/secrets/index.ts";
import { type TokenRouteServices, tokenRoutes } from "../../src/server/routes/tokens.ts";
import { type TokenService, tokenError } from "../../src/tokens/index.ts";
import { NO_OPENBAO, startVault } from "../backends/peers.ts";
import { codeOf } from "../sealing/support.ts";
import { startTestServer, type TestServer } from "./support.ts";

const PERMIT = `\n@id("all")\npermit (principal, action == Action::"checkoutSecret", resource);\n`;
const app = { type: "Workload" as const, id: "app" };
type Api = TestServer["admin"]["api"];

/** A server whose secret `lent` is lent by OpenBao; undefined without one. */
async function start(t: TestContext) {
  const peer = await startVault("openbao");
  if (!peer) return undefined;
  await peer.ask("POST", "sys/mounts/lent", { type: "leased" });
  await peer.ask("POST", "lent/role", { value: "sk-canary-lent", ttl: "300s" });
  process.env.VAULT_TOKEN = peer.rootToken;
  const keep = await startTestServer({ flags: { secret_drivers: [`bao=vault://${peer.host}?insecure-http=1`] } });
  t.after(() => keep.stop());
  const { api } = keep.admin;
  const { text, version } = await api.call(contract.getPolicy, {});
  await api.call(contract.setPolicy, { body: { text: text + PERMIT, if_version: version } });
  const body = { driver: "bao", reference: "lent/role#value", rules: { unshared: true } };
  await api.call(contract.linkSecret, { params: { name: "lent" }, body });
  const upstream = async (): Promise<number> => {
    const { status, body: listed } = await peer.ask("LIST", "sys/leases/lookup/lent/role/");
    return status === 404 ? 0 : ((listed as { data?: { keys?: unknown[] } }).data?.keys?.length ?? 0);
  };
  return { keep, api, upstream };
}

function takeFrom(api: Api) {
  const { key } = createReceiver();
  const body = { key_id: key.keyId, public_key: key.publicKey };
  return api.call(contract.checkoutSecret, { params: { name: "lent" }, body });
}

const openLeases = async (api: Api) => (await api.call(contract.listLeases, {})).leases.map(({ id }) => id);

async function untilUpstream(wanted: number, upstream: () => Promise<number>): Promise<number> {
  const started = performance.now();
  while ((await upstream()) !== wanted) {
    assert.ok(performance.now() - started < 5_000, `${await upstream()} are lent, not ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return performance.now() - started;
}

test("a principal's leases end with its tokens, and where they were lent within a second", async (t) => {
  const started = await start(t);
  if (!started) return t.skip(NO_OPENBAO);
  const { keep, api, upstream } = started;
  const workload = await keep.workload("app");
  for (let n = 0; n < 5; n++) await takeFrom(workload.api);
  const other = await takeFrom((await keep.workload("other")).api);
  assert.equal(await upstream(), 6);
  const revoked = await api.call(contract.revokeToken, { body: { principal: app } });
  assert.equal(revoked.leases, 5);
  assert.deepEqual(await openLeases(api), [other.lease.id]);
  const milliseconds = await untilUpstream(1, upstream);
  t.diagnostic(`given back after ${milliseconds.toFixed(0)} ms`);
  assert.ok(milliseconds < 1_000);
  assert.equal(await codeOf(() => api.call(contract.revokeToken, { body: { principal: app } })), "PRINCIPAL_NOT_FOUND");
});

test("one instance's token takes its own leases along, and not those of the others", async (t) => {
  const started = await start(t);
  if (!started) return t.skip(NO_OPENBAO);
  const { keep, api, upstream } = started;
  const [stolen, kept] = [await keep.workload("app"), await keep.workload("app")];
  const taken = await takeFrom(stolen.api);
  const stays = await takeFrom(kept.api);
  const { token } = await stolen.api.call(contract.whoAmI, {});
  const { leases, keys } = await api.call(contract.revokeToken, { body: { token } });
  assert.deepEqual([leases, keys], [1, 1]);
  assert.deepEqual(await openLeases(api), [stays.lease.id]);
  await untilUpstream(1, upstream);
  const id = { id: taken.lease.id };
  assert.equal(await codeOf(() => kept.api.call(contract.renewLease, { params: id, body: {} })), "LEASE_NOT_FOUND");
});

test("a check-out that is under way while its token ends leaves no lease", async (t) => {
  const started = await start(t);
  if (!started) return t.skip(NO_OPENBAO);
  const { keep, api, upstream } = started;
  for (let round = 0; round < 4; round++) {
    const workload = await keep.workload("app");
    const asked = Array.from({ length: 12 }, () => takeFrom(workload.api).catch((error) => error));
    await new Promise((resolve) => setTimeout(resolve, round * 15));
    await api.call(contract.revokeToken, { body: { principal: app } });
    await Promise.all(asked);
    assert.deepEqual(await openLeases(api), [], `round ${round}`);
  }
  await untilUpstream(0, upstream);
});

/** Answers as the two services do, one of which is out of order. */
function withBroken(revoke: TokenService["revoke"]) {
  const ended: unknown[] = [];
  const services = {
    tokens: { revoke, show: async () => undefined },
    secrets: { revoke: async (filter: unknown) => [ended.push(filter)].map(String) },
    authorizer: () => ({ decide: () => ({ allowed: true, policies: [] }) }),
    recorder: { record: async () => undefined },
  } as unknown as TokenRouteServices;
  const route = tokenRoutes(services).find(({ route: { id } }) => id === "revokeToken");
  const caller = { principal: { type: "Admin", id: "admin" }, groups: [], tokenId: "token_1" } as unknown as Caller;
  const request = { params: {}, body: { principal: app }, method: "POST", url: "", header: () => undefined };
  return { ended, ask: async () => route?.handle(request, caller) };
}

test("a revocation of which the tokens' half fails is no success, whatever leases it ended", async () => {
  const broken = withBroken(async () => {
    throw new Error("the database went away");
  });
  await assert.rejects(broken.ask(), /went away/);
  assert.equal(broken.ended.length, 1, "the leases end all the same");
  const none = withBroken(async () => {
    throw tokenError("PRINCIPAL_NOT_FOUND");
  });
  assert.deepEqual(await none.ask(), { principal: app, codes: 0, keys: 0, tokens: 0, leases: 1 });
});
