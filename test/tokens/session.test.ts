/** The client's half: one renewal for all who wait, early enough, no token to strangers, and clear words when it fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fetch } from "../../src/base/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { createTokenSession, ProofKey, requestToken, SESSION_LIMITS } from "../../src/tokens/index.ts";
import { HandClock, SERVER } from "./support.ts";

const API = `${SERVER}/api/v1/whoami`;

interface Asked {
  readonly url: string;
  readonly authorization: string | null;
  readonly body: string;
}

/** A server that gives tokens t1, t2 ... of 100 s and answers everything else with what `answer` says. */
async function start(answer: (asked: Asked) => Response = () => new Response("{}")) {
  const clock = new HandClock();
  const asked: Asked[] = [];
  const state = { token: (n: number): Response | Promise<Response> => tokenAnswer(n), issued: 0 };
  const fetch: Fetch = async (input, init) => {
    const headers = new Headers(init?.headers);
    const one = { url: String(input), authorization: headers.get("authorization"), body: String(init?.body ?? "") };
    asked.push(one);
    assert.equal(init?.redirect, "error");
    if (one.url !== `${SERVER}/oauth/token`) return answer(one);
    return state.token(++state.issued);
  };
  const { key, privateJwk } = await ProofKey.generate();
  const ports = { fetch, clock, random: systemRandom, serverUrl: SERVER, key };
  return { clock, asked, state, ports, privateJwk, session: createTokenSession(ports) };
}

function tokenAnswer(n: number): Response {
  const token = { access_token: `mkt_${String(n).padStart(20, "0")}`, token_type: "DPoP", expires_in: 100 };
  return Response.json({ ...token, principal: 'Workload::"demo"' });
}

test("many requests at once wait for one renewal, which comes before the end", async () => {
  const { session, state, clock } = await start();
  await Promise.all(Array.from({ length: 20 }, () => session.prove("GET", API)));
  assert.equal(state.issued, 1);
  clock.pass(100 * SESSION_LIMITS.renewAfterPart - 1);
  await session.prove("GET", API);
  assert.equal(state.issued, 1);
  clock.pass(1);
  await Promise.all(Array.from({ length: 20 }, () => session.prove("GET", API)));
  assert.equal(state.issued, 2);
});

test("a server that cannot be reached is bridged while the token lives, and not longer", async () => {
  const { session, state, clock } = await start();
  await session.prove("GET", API);
  state.token = () => Promise.reject(new TypeError("fetch failed"));
  clock.pass(90);
  await session.prove("GET", API);
  clock.pass(10);
  await assert.rejects(session.prove("GET", API), { code: "UNREACHABLE" });
});

test("a server that refuses the key ends the session at once", async () => {
  const { session, state, clock } = await start();
  await session.prove("GET", API);
  state.token = () => Response.json({ error: "invalid_grant" }, { status: 400 });
  clock.pass(90);
  await assert.rejects(session.prove("GET", API), { code: "RENEWAL_REFUSED" });
});

test("after a 401 the request is sent once more with a new token, and only once", async () => {
  const { session, asked, state } = await start((one) => {
    return new Response("{}", { status: one.authorization?.endsWith("1") ? 401 : 200 });
  });
  const response = await session.fetch(API, { method: "POST", body: "hello" });
  assert.equal(response.status, 200);
  const sent = asked.filter((one) => one.url === API);
  assert.deepEqual(
    sent.map((one) => one.body),
    ["hello", "hello"],
  );
  assert.notEqual(sent[0]?.authorization, sent[1]?.authorization);
  assert.equal(state.issued, 2);
  const always = await start(() => new Response("{}", { status: 401 }));
  assert.equal((await always.session.fetch(API)).status, 401);
  assert.equal(always.asked.filter((one) => one.url === API).length, 2);
});

test("the token goes to its server and nowhere else", async () => {
  const { session, asked } = await start();
  for (const url of ["http://evil.example/api", "https://127.0.0.1:8420/", "http://127.0.0.1:8421/", "nonsense"]) {
    await assert.rejects(session.fetch(url), { code: "INVALID_INPUT" });
  }
  assert.equal(asked.length, 0);
});

test("a wrong clock is named, since nobody would find it otherwise", async () => {
  const { ports, state, clock } = await start();
  const date = new Date(clock.now() - 300_000).toUTCString();
  state.token = () => Response.json({ error: "invalid_dpop_proof" }, { status: 400, headers: { date } });
  const asked = requestToken({ ...ports, code: "mkc_x" });
  await assert.rejects(asked, { code: "ENROLMENT_REFUSED", detail: /300 s ahead/ });
});

test("answers that are no answers", async () => {
  const { ports, state } = await start();
  const wrong = [
    () => new Response("<html>", { status: 200 }),
    () => new Response("not found", { status: 404 }),
    () =>
      Response.json({ access_token: "mkt_00000000000000000001", token_type: "Bearer", expires_in: 9, principal: "x" }),
    () =>
      Response.json({ access_token: "line\nbreak and more words", token_type: "DPoP", expires_in: 9, principal: "x" }),
    () =>
      Response.json({ access_token: "mkt_00000000000000000001", token_type: "DPoP", expires_in: -1, principal: "x" }),
    () => new Response("x".repeat(SESSION_LIMITS.answerBytes + 1)),
  ];
  for (const each of wrong) {
    state.token = each;
    await assert.rejects(requestToken(ports), { code: "TOKEN_ANSWER_INVALID" });
  }
  state.token = () => new Response("", { status: 503 });
  await assert.rejects(requestToken(ports), { code: "UNREACHABLE" });
});

test("the key cannot be taken out again, and shows itself nowhere", async () => {
  const { ports, privateJwk } = await start();
  assert.ok(!JSON.stringify(ports.key).includes(privateJwk.d));
  assert.deepEqual(Object.keys(ports.key.publicJwk).sort(), ["crv", "kty", "x", "y"]);
  for (const wrong of [
    null,
    {},
    { ...privateJwk, d: "AA" },
    { ...privateJwk, x: privateJwk.y },
    { ...privateJwk, crv: "P-384" },
  ]) {
    await assert.rejects(ProofKey.import(wrong), { code: "PROOF_KEY_INVALID" });
  }
});
