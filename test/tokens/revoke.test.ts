/** Revocation reaches every replica within a second, also when no message does, and nobody passes without the store. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import type { RecordStore } from "../../src/store/index.ts";
import { createTokenService, ProofKey, TOKEN_LIMITS, type TokenService } from "../../src/tokens/index.ts";
import {
  ADA,
  codeForm,
  craftProof,
  DEMO,
  enrolHolder,
  type Holder,
  renewalForm,
  SERVER,
  sqliteStore,
  startTokens,
  TOKEN_URL,
} from "./support.ts";

const URL_CHAT = `${SERVER}/v1/chat/completions`;
const REFUSED = { code: "TOKEN_REFUSED" };

async function ask(tokens: TokenService, holder: Holder, clock = systemClock) {
  const dpop = await craftProof(holder, clock, URL_CHAT);
  return tokens.authenticate({ authorization: `DPoP ${holder.accessToken}`, dpop, method: "POST", url: URL_CHAT });
}

/** Two services over one store, on the real clock. */
async function replicas(t: TestContext, changed: (store: RecordStore) => RecordStore = (store) => store) {
  const store = await sqliteStore(t);
  const { tokens: here, ports } = await startTokens(t, { store: changed(store), clock: systemClock });
  const there = await createTokenService({ ...ports, store: changed(store) });
  t.after(() => there.close());
  return { here, there };
}

/** The same store, with some of its functions replaced. */
function changedStore(store: RecordStore, changes: Partial<RecordStore>): RecordStore {
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(changes, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function millisecondsUntilRefused(tokens: TokenService, holder: Holder): Promise<number> {
  const started = performance.now();
  for (;;) {
    const result = await ask(tokens, holder).catch((error) => error.code);
    if (result === REFUSED.code) return performance.now() - started;
    assert.ok(performance.now() - started < 5000, "it is never refused");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

for (const by of ["token", "principal"] as const) {
  test(`revoked by ${by} on one replica, refused on the other within a second`, async (t) => {
    const { here, there } = await replicas(t);
    const holder = await enrolHolder(here, systemClock);
    await ask(here, holder);
    await ask(there, holder);
    await here.revoke(by === "token" ? { tokenId: holder.tokenId } : { principal: DEMO }, { by: ADA });
    const milliseconds = await millisecondsUntilRefused(there, holder);
    assert.ok(milliseconds < 1000, `${milliseconds} ms`);
    await assert.rejects(ask(here, holder), REFUSED);
  });
}

test("every message between the replicas is lost: still refused within a second", async (t) => {
  const { here, there } = await replicas(t, (store) => changedStore(store, { notify: async () => {} }));
  const holder = await enrolHolder(here, systemClock);
  await ask(there, holder);
  await here.revoke({ principal: DEMO }, { by: ADA });
  const milliseconds = await millisecondsUntilRefused(there, holder);
  assert.ok(milliseconds < 1000, `${milliseconds} ms`);
});

test("a message that cannot be sent does not undo the revocation", async (t) => {
  const broken = async () => {
    throw new Error("the connection is gone");
  };
  const { here } = await replicas(t, (store) => changedStore(store, { notify: broken }));
  const holder = await enrolHolder(here, systemClock);
  await here.revoke({ tokenId: holder.tokenId }, { by: ADA });
  await assert.rejects(ask(here, holder), REFUSED);
});

test("a store that does not answer lets nobody pass, known or unknown", async (t) => {
  let broken = false;
  const store = await sqliteStore(t);
  const flaky = changedStore(store, {
    async get(table, id) {
      if (broken) throw new Error("the connection is gone");
      return store.get(table, id);
    },
  });
  const { tokens, clock } = await startTokens(t, { store: flaky });
  const holder = await enrolHolder(tokens, clock);
  await ask(tokens, holder, clock);
  broken = true;
  clock.pass(TOKEN_LIMITS.cacheMilliseconds / 1000);
  await assert.rejects(ask(tokens, holder, clock), { code: "TOKEN_STORE_UNAVAILABLE", status: 503 });
  broken = false;
  await ask(tokens, holder, clock);
});

test("a gap in the messages makes every token be looked up again", async (t) => {
  let gap: () => void = () => {};
  const store = await sqliteStore(t);
  const watched = changedStore(store, {
    subscribe(channel, onMessage, onGap) {
      gap = onGap;
      return store.subscribe(channel, onMessage, onGap);
    },
  });
  const { tokens, clock } = await startTokens(t, { store: watched });
  const holder = await enrolHolder(tokens, clock);
  await ask(tokens, holder, clock);
  await store.delete("tokens", holder.tokenId);
  await ask(tokens, holder, clock);
  gap();
  await assert.rejects(ask(tokens, holder, clock), REFUSED);
});

test("an answer of the store that was under way during a revocation is not kept", async (t) => {
  let hold: Promise<void> | undefined;
  const store = await sqliteStore(t);
  const slow = changedStore(store, {
    async get(table, id) {
      const found = await store.get(table, id);
      await hold;
      return found;
    },
  });
  const { tokens, clock } = await startTokens(t, { store: slow });
  const holder = await enrolHolder(tokens, clock);
  let go = () => {};
  hold = new Promise((resolve) => {
    go = resolve;
  });
  const early = ask(tokens, holder, clock).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await tokens.revoke({ principal: DEMO }, { by: ADA });
  hold = undefined;
  const late = ask(tokens, holder, clock);
  await assert.rejects(late, REFUSED);
  go();
  await early;
  await assert.rejects(ask(tokens, holder, clock), REFUSED);
});

test("after a revocation the key does not renew; by principal neither do its codes enrol", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const ports = { clock, random: systemRandom };
  const exchange = async (key: ProofKey, form: URLSearchParams) =>
    tokens.exchange({ form, dpop: await key.prove({ method: "POST", url: TOKEN_URL }, ports), url: TOKEN_URL });
  const [first, second] = [await enrolHolder(tokens, clock), await enrolHolder(tokens, clock)];
  await tokens.revoke({ tokenId: first.tokenId }, { by: ADA });
  const refused = { code: "INVALID_GRANT" };
  await assert.rejects(exchange(first.key, renewalForm(await first.key.assert(SERVER, ports))), refused);
  await exchange(second.key, renewalForm(await second.key.assert(SERVER, ports)));
  const { code } = await tokens.enrol({ principal: DEMO, groups: [], by: ADA });
  const revoked = await tokens.revoke({ principal: DEMO }, { by: ADA });
  assert.deepEqual(revoked, { principal: DEMO, codes: 1, keys: 1, tokens: 2 });
  await assert.rejects(exchange(second.key, renewalForm(await second.key.assert(SERVER, ports))), refused);
  await assert.rejects(exchange((await ProofKey.generate()).key, codeForm(code)), refused);
  assert.deepEqual(await tokens.list(), []);
});

test("a renewal under way and a revocation at the same time leave no live token", async (t) => {
  const { tokens, clock, store } = await startTokens(t);
  const ports = { clock, random: systemRandom };
  for (let round = 0; round < 10; round++) {
    const { key } = await enrolHolder(tokens, clock);
    const dpop = await key.prove({ method: "POST", url: TOKEN_URL }, ports);
    const form = renewalForm(await key.assert(SERVER, ports));
    await Promise.allSettled([
      tokens.exchange({ form, dpop, url: TOKEN_URL }),
      tokens.revoke({ principal: DEMO }, { by: ADA }),
    ]);
    assert.deepEqual((await store.list("tokens")).records, []);
    assert.deepEqual((await store.list("token-keys")).records, []);
  }
});

test("what does not live cannot be revoked, whatever its id looks like", async (t) => {
  const { tokens } = await startTokens(t);
  for (const tokenId of ["tok_00000000000000000000000000000000", "tok_", "", "../x", "a".repeat(5000), "\0"]) {
    await assert.rejects(tokens.revoke({ tokenId }, { by: ADA }), { code: "TOKEN_NOT_FOUND" });
    assert.equal(await tokens.show(tokenId), undefined);
  }
  for (const id of ["demo", "\u0001".repeat(200), "x".repeat(5000), ""]) {
    const principal = { type: "Workload", id };
    await assert.rejects(tokens.revoke({ principal }, { by: ADA }), { code: "PRINCIPAL_NOT_FOUND" });
  }
});
