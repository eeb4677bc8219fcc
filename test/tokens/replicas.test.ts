/** Two servers on one PostgreSQL: a code counts once, and a revocation arrives within a second, also on a cut line. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { silentLog } from "../../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../../src/host/index.ts";
import { openStore, type RecordStore } from "../../src/store/index.ts";
import { createTokenService, ProofKey, type TokenService } from "../../src/tokens/index.ts";
import { KeptEvents } from "../secrets/support.ts";
import { type Cluster, POSTGRES_MISSING, startCluster } from "../support/postgres.ts";
import {
  ADA,
  codeForm,
  craftProof,
  DEMO,
  enrolHolder,
  type Holder,
  renewalForm,
  SERVER,
  TOKEN_URL,
} from "./support.ts";

const URL_CHAT = `${SERVER}/v1/chat/completions`;
const ports = { clock: systemClock, random: systemRandom, log: silentLog };

let cluster: Cluster | undefined;
let url = "";
const stores: RecordStore[] = [];
const replicas: TokenService[] = [];

before(async () => {
  cluster = await startCluster();
  if (!cluster) return;
  url = cluster.createDatabase();
  const rootKey = GuardedBytes.take(systemRandom.bytes(32));
  for (let n = 0; n < 2; n++) {
    const store = await openStore({ ...ports, url, rootKey });
    stores.push(store);
    replicas.push(await createTokenService({ ...ports, store, recorder: new KeptEvents() }));
  }
});

after(async () => {
  for (const replica of replicas) await replica.close();
  for (const store of stores) await store.close();
  await cluster?.destroy();
});

function pair(): { here: TokenService; there: TokenService } | undefined {
  const [here, there] = replicas;
  return here && there ? { here, there } : undefined;
}

async function ask(tokens: TokenService, holder: Holder) {
  const dpop = await craftProof(holder, systemClock, URL_CHAT);
  return tokens.authenticate({ authorization: `DPoP ${holder.accessToken}`, dpop, method: "POST", url: URL_CHAT });
}

async function millisecondsUntilRefused(tokens: TokenService, holder: Holder): Promise<number> {
  const started = performance.now();
  while (performance.now() - started < 5000) {
    const result = await ask(tokens, holder).catch((error) => error.code);
    if (result === "TOKEN_REFUSED") return performance.now() - started;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return Number.POSITIVE_INFINITY;
}

test("a token of one replica opens the other, and its revocation closes it within a second", async (t) => {
  const servers = pair();
  if (!servers) return t.skip(POSTGRES_MISSING);
  const holder = await enrolHolder(servers.here, systemClock);
  assert.deepEqual((await ask(servers.there, holder)).principal, DEMO);
  await servers.here.revoke({ principal: DEMO }, { by: ADA });
  assert.ok((await millisecondsUntilRefused(servers.there, holder)) < 1000);
});

test("with every connection of the other replica cut in the same moment", async (t) => {
  const servers = pair();
  if (!servers) return t.skip(POSTGRES_MISSING);
  const holder = await enrolHolder(servers.here, systemClock);
  await ask(servers.there, holder);
  cluster?.sql(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
  await servers.here.revoke({ principal: DEMO }, { by: ADA });
  assert.ok((await millisecondsUntilRefused(servers.there, holder)) < 1000);
});

test("a code that is redeemed on both replicas at once enrols one key", async (t) => {
  const servers = pair();
  if (!servers) return t.skip(POSTGRES_MISSING);
  for (let round = 0; round < 5; round++) {
    const { code } = await servers.here.enrol({ principal: DEMO, groups: [], by: ADA });
    const tries: Promise<unknown>[] = [servers.here, servers.there, servers.here, servers.there].map(async (tokens) => {
      const { key } = await ProofKey.generate();
      const dpop = await key.prove({ method: "POST", url: TOKEN_URL }, ports);
      return tokens.exchange({ form: codeForm(code), dpop, url: TOKEN_URL });
    });
    const results = await Promise.allSettled(tries);
    assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
    for (const result of results) {
      if (result.status === "rejected") assert.equal(result.reason.code, "INVALID_GRANT");
    }
  }
});

test("renewals of one key on both replicas at once all succeed", async (t) => {
  const servers = pair();
  if (!servers) return t.skip(POSTGRES_MISSING);
  const { key } = await enrolHolder(servers.here, systemClock);
  const renew = async (tokens: TokenService) => {
    const form = renewalForm(await key.assert(SERVER, ports));
    const dpop = await key.prove({ method: "POST", url: TOKEN_URL }, ports);
    return tokens.exchange({ form, dpop, url: TOKEN_URL });
  };
  const issued = await Promise.all([1, 2, 3, 4].flatMap(() => [renew(servers.here), renew(servers.there)]));
  assert.equal(new Set(issued.map((token) => token.tokenId)).size, 8);
});

test("a database that is gone lets nobody pass, and lets everybody in again when it is back", async (t) => {
  const servers = pair();
  if (!servers || !cluster) return t.skip(POSTGRES_MISSING);
  const holder = await enrolHolder(servers.here, systemClock);
  await ask(servers.there, holder);
  await cluster.crash();
  await new Promise((resolve) => setTimeout(resolve, 600));
  await assert.rejects(ask(servers.there, holder), { code: "TOKEN_STORE_UNAVAILABLE", status: 503 });
  await cluster.start();
  assert.deepEqual((await ask(servers.there, holder)).principal, DEMO);
});
