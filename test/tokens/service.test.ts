/** Enrolment, exchange, renewal, revocation: what the service promises when everybody behaves, and at its edges. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import * as jose from "jose";
import { systemRandom } from "../../src/host/index.ts";
import {
  createTokenService,
  GRANT_TYPE,
  ProofKey,
  TOKEN_LIMITS,
  TOKEN_TYPES,
  type TokenService,
} from "../../src/tokens/index.ts";
import { sweepEnded } from "../../src/tokens/sweep.ts";
import {
  ADA,
  codeForm,
  craftProof,
  DEMO,
  enrolHolder,
  type HandClock,
  renewalForm,
  SERVER,
  sqliteStore,
  startTokens,
  TOKEN_URL,
} from "./support.ts";

const URL_V1 = `${SERVER}/v1/chat/completions`;

test("a code enrols a key, the token opens, and the caller is who the code was for", async (t) => {
  const { tokens, clock, recorder } = await startTokens(t);
  const holder = await enrolHolder(tokens, clock);
  const ports = { clock, random: systemRandom };
  const proof = { method: "POST", url: `${URL_V1}?a=1`, accessToken: holder.accessToken };
  const caller = await tokens.authenticate({
    authorization: `DPoP ${holder.accessToken}`,
    dpop: await holder.key.prove(proof, ports),
    method: "POST",
    url: `${URL_V1}?a=1`,
  });
  assert.deepEqual(caller.principal, DEMO);
  assert.deepEqual(caller.groups, ["team"]);
  assert.equal(caller.keyThumbprint, holder.key.thumbprint);
  assert.equal(caller.expiresAt, clock.now() + TOKEN_LIMITS.tokenTtlSeconds * 1000);
  assert.deepEqual(recorder.actions(), ["token.enrol", "token.issue"]);
  assert.ok(!JSON.stringify(recorder.events).includes(holder.accessToken));
});

const exchange = async (tokens: TokenService, clock: HandClock, form: URLSearchParams, key?: ProofKey) => {
  const used = key ?? (await ProofKey.generate()).key;
  const dpop = await used.prove({ method: "POST", url: TOKEN_URL }, { clock, random: systemRandom });
  return tokens.exchange({ form, dpop, url: TOKEN_URL });
};

test("a code is good once", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const { code } = await tokens.enrol({ principal: DEMO, groups: [], by: ADA });
  const ports = { clock, random: systemRandom };
  const tries = Array.from({ length: 8 }, async () => {
    const { key } = await ProofKey.generate();
    const dpop = await key.prove({ method: "POST", url: TOKEN_URL }, ports);
    return tokens.exchange({ form: codeForm(code), dpop, url: TOKEN_URL });
  });
  const results = await Promise.allSettled(tries);
  assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
  for (const result of results) {
    if (result.status === "rejected") assert.equal(result.reason.code, "INVALID_GRANT");
  }
});

test("an enrolled key renews, and one assertion renews once", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const { key } = await enrolHolder(tokens, clock);
  const ports = { clock, random: systemRandom };
  const form = renewalForm(await key.assert(SERVER, ports));
  const prove = () => key.prove({ method: "POST", url: TOKEN_URL }, ports);
  const issued = await tokens.exchange({ form, dpop: await prove(), url: TOKEN_URL });
  assert.deepEqual(issued.principal, DEMO);
  assert.deepEqual(issued.groups, ["team"]);
  const again = tokens.exchange({ form, dpop: await prove(), url: TOKEN_URL });
  await assert.rejects(again, { code: "INVALID_GRANT" });
});

test("a code is good once across two replicas", async (t) => {
  const { tokens: here, clock, ports } = await startTokens(t);
  const there = await createTokenService(ports);
  t.after(() => there.close());
  for (let round = 0; round < 5; round++) {
    const { code } = await here.enrol({ principal: DEMO, groups: [], by: ADA });
    const tries = [here, there, here, there].map((tokens) => exchange(tokens, clock, codeForm(code)));
    const results = await Promise.allSettled(tries);
    assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
  }
});

test("a code ends by its time, and a wrong one is not told from a used one", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const { code, expiresAt } = await tokens.enrol({ principal: DEMO, groups: [], by: ADA, ttlSeconds: 60 });
  assert.equal(expiresAt, clock.now() + 60_000);
  const refused = { code: "INVALID_GRANT", status: 400, detail: undefined };
  await assert.rejects(exchange(tokens, clock, codeForm(`${code}x`)), refused);
  await assert.rejects(exchange(tokens, clock, codeForm("x")), refused);
  clock.pass(60);
  await assert.rejects(exchange(tokens, clock, codeForm(code)), refused);
});

test("neither code nor token nor assertion is in the store or in the log of what happened", async (t) => {
  const { tokens, clock, store, recorder } = await startTokens(t);
  const { code } = await tokens.enrol({ principal: DEMO, groups: ["team"], by: ADA });
  const { key } = await ProofKey.generate();
  const { code: open } = await tokens.enrol({ principal: DEMO, groups: ["team"], by: ADA });
  const { accessToken } = await exchange(tokens, clock, codeForm(code), key);
  const records = [];
  for (const table of ["token-principals", "token-keys", "token-codes", "tokens", "token-assertions"]) {
    records.push(...(await store.list(table)).records.map(({ id, value }) => id + new TextDecoder().decode(value)));
  }
  assert.ok(records.length >= 4);
  const all = records.join("\n") + JSON.stringify(recorder.events);
  for (const secret of [code, open, accessToken]) assert.ok(!all.includes(secret.slice(4, 24)));
});

test("the first administrator: one code, replaced by the next start, none once somebody is enrolled", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const first = await tokens.bootstrap();
  const second = await tokens.bootstrap();
  assert.ok(first && second && first.code !== second.code);
  await assert.rejects(exchange(tokens, clock, codeForm(first.code)), { code: "INVALID_GRANT" });
  const issued = await exchange(tokens, clock, codeForm(second.code));
  assert.deepEqual(issued.principal, { type: "Admin", id: "admin" });
  assert.deepEqual(issued.groups, ["admins"]);
  assert.equal(await tokens.bootstrap(), undefined);
  await tokens.revoke({ principal: issued.principal }, { by: ADA });
  assert.ok(await tokens.bootstrap());
});

test("a workload in the group admins is no first administrator", async (t) => {
  const { tokens, clock } = await startTokens(t);
  await enrolHolder(tokens, clock, { type: "Workload", id: "admin" });
  assert.ok(await tokens.bootstrap());
});

test("forms that are not an exchange", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const { code } = await tokens.enrol({ principal: DEMO, groups: [], by: ADA });
  const changed = (change: (form: URLSearchParams) => void) => {
    const form = codeForm(code);
    change(form);
    return exchange(tokens, clock, form);
  };
  const unsupported = { code: "UNSUPPORTED_GRANT_TYPE" };
  await assert.rejects(
    changed((form) => form.delete("grant_type")),
    unsupported,
  );
  await assert.rejects(
    changed((form) => form.set("grant_type", "password")),
    unsupported,
  );
  const invalid = { code: "INVALID_REQUEST" };
  await assert.rejects(
    changed((form) => form.append("grant_type", GRANT_TYPE)),
    invalid,
  );
  await assert.rejects(
    changed((form) => form.append("subject_token", code)),
    invalid,
  );
  await assert.rejects(
    changed((form) => form.delete("subject_token")),
    invalid,
  );
  await assert.rejects(
    changed((form) => form.set("subject_token", "x".repeat(10_000))),
    invalid,
  );
  await assert.rejects(
    changed((form) => form.set("subject_token_type", "urn:x")),
    invalid,
  );
  await assert.rejects(
    changed((form) => form.set("actor_token", "x")),
    invalid,
  );
  await assert.rejects(
    changed((form) => form.set("requested_token_type", TOKEN_TYPES.jwt)),
    invalid,
  );
  await changed((form) => form.set("requested_token_type", TOKEN_TYPES.accessToken));
});

test("an exchange without a good proof uses nothing up", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const { code } = await tokens.enrol({ principal: DEMO, groups: [], by: ADA });
  const { key, privateJwk } = await ProofKey.generate();
  const holder = { key, jwk: { ...privateJwk }, accessToken: "", tokenId: "" };
  const crafted = (changed: Parameters<typeof craftProof>[3]) => craftProof(holder, clock, TOKEN_URL, changed);
  const wrong = [
    undefined,
    "",
    "a.b.c",
    await crafted({ payload: { htm: "GET" } }),
    await crafted({ payload: { htu: `${SERVER}/other` } }),
    await crafted({ payload: { iat: 1 } }),
    await crafted({ header: { alg: "none" } }),
    await crafted({ header: { jwk: privateJwk } }),
    await crafted({ signWith: { ...(await ProofKey.generate()).privateJwk } }),
  ];
  for (const dpop of wrong) {
    const tried = tokens.exchange({ form: codeForm(code), dpop, url: TOKEN_URL });
    await assert.rejects(tried, { code: "INVALID_DPOP_PROOF", detail: undefined });
  }
  await exchange(tokens, clock, codeForm(code), key);
});

test("a renewal for another server, by another key, too old, too long, or with a proof in its place", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const { key } = await enrolHolder(tokens, clock);
  const { key: other } = await ProofKey.generate();
  const ports = { clock, random: systemRandom };
  const early = { random: systemRandom, clock: { now: () => clock.now() - 61_000, monotonic: () => 0 } };
  const late = { random: systemRandom, clock: { now: () => clock.now() + 20_000, monotonic: () => 0 } };
  const wrong = [
    await key.assert("http://127.0.0.1:9999", ports),
    await key.assert(`${SERVER}/`, ports),
    await other.assert(SERVER, ports),
    await key.assert(SERVER, early),
    await key.assert(SERVER, late),
    await key.prove({ method: "POST", url: TOKEN_URL }, ports),
    (await key.assert(SERVER, ports)).replace(/.{4}$/, "AAAA"),
    "mkt_x",
  ];
  for (const assertion of wrong) {
    await assert.rejects(exchange(tokens, clock, renewalForm(assertion), key), { code: "INVALID_GRANT" });
  }
  const stolen = renewalForm(await key.assert(SERVER, ports));
  await assert.rejects(exchange(tokens, clock, stolen, other), { code: "INVALID_GRANT" });
  await exchange(tokens, clock, stolen, key);
});

test("an event that cannot be written down: no token, and no key that could renew", async (t) => {
  const { tokens, clock, recorder, store } = await startTokens(t);
  const holder = await enrolHolder(tokens, clock);
  const { code } = await tokens.enrol({ principal: DEMO, groups: [], by: ADA });
  recorder.broken = true;
  await assert.rejects(tokens.enrol({ principal: DEMO, groups: [], by: ADA }));
  const { key } = await ProofKey.generate();
  await assert.rejects(exchange(tokens, clock, codeForm(code), key));
  const assertion = await holder.key.assert(SERVER, { clock, random: systemRandom });
  await assert.rejects(exchange(tokens, clock, renewalForm(assertion), holder.key));
  recorder.broken = false;
  assert.deepEqual(
    (await tokens.list()).map((token) => token.id),
    [holder.tokenId],
  );
  assert.equal(await store.get("token-keys", key.thumbprint), undefined);
  assert.ok(await store.get("token-keys", holder.key.thumbprint));
});

test("the limits of one principal: open codes, and the oldest token of a key gives way", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const holder = await enrolHolder(tokens, clock);
  const ports = { clock, random: systemRandom };
  for (let i = 0; i < TOKEN_LIMITS.tokensPerKey; i++) {
    await exchange(tokens, clock, renewalForm(await holder.key.assert(SERVER, ports)), holder.key);
  }
  const live = await tokens.list();
  assert.equal(live.length, TOKEN_LIMITS.tokensPerKey);
  assert.ok(!live.some((token) => token.id === holder.tokenId));
  for (let i = 0; i < TOKEN_LIMITS.codesPerPrincipal; i++) await tokens.enrol({ principal: DEMO, groups: [], by: ADA });
  await assert.rejects(tokens.enrol({ principal: DEMO, groups: [], by: ADA }), { code: "TOKEN_LIMIT" });
  clock.pass(TOKEN_LIMITS.codeTtlSeconds);
  await tokens.enrol({ principal: DEMO, groups: [], by: ADA });
});

test("names, groups and times that cannot be", async (t) => {
  const { tokens } = await startTokens(t);
  const invalid = { code: "PRINCIPAL_INVALID" };
  const enrol = (id: string, groups: string[] = [], ttlSeconds?: number) =>
    tokens.enrol({
      principal: { type: "Workload", id },
      groups,
      by: ADA,
      ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
    });
  for (const id of ["", " ", "a b", 'a"', "ä", "-a", "a\nb", "x".repeat(TOKEN_LIMITS.principalCharacters + 1)]) {
    await assert.rejects(enrol(id), invalid);
  }
  for (const groups of [[""], ["a b"], ["x".repeat(65)], Array.from({ length: 17 }, (_, i) => `g${i}`)]) {
    await assert.rejects(enrol("a", groups), invalid);
  }
  for (const ttl of [0, -1, 1.5, Number.NaN, TOKEN_LIMITS.maxCodeTtlSeconds + 1]) {
    await assert.rejects(enrol("a", [], ttl), invalid);
  }
  await enrol("spiffe://example.org/ns/prod@1");
});

test("no token lives longer than an hour, whatever was configured", async (t) => {
  const { ports, clock } = await startTokens(t);
  const tokens = await createTokenService({ ...ports, tokenTtlSeconds: 86_400 });
  t.after(() => tokens.close());
  const { code } = await tokens.enrol({ principal: DEMO, groups: [], by: ADA });
  const issued = await exchange(tokens, clock, codeForm(code));
  assert.equal(issued.expiresInSeconds, 3600);
  const [info] = await tokens.list();
  assert.equal((info?.expiresAt ?? 0) - (info?.issuedAt ?? 0), 3600_000);
});

test("a sweep deletes what has ended and nothing that lives", async (t) => {
  const { tokens, clock, store } = await startTokens(t);
  const holder = await enrolHolder(tokens, clock);
  const ports = { clock, random: systemRandom };
  await exchange(tokens, clock, renewalForm(await holder.key.assert(SERVER, ports)), holder.key);
  await tokens.enrol({ principal: { type: "Workload", id: "other" }, groups: [], by: ADA });
  const count = async (table: string) => (await store.list(table)).records.length;
  await sweepEnded(store, clock);
  assert.deepEqual(await Promise.all(["tokens", "token-codes", "token-assertions"].map(count)), [2, 1, 1]);
  clock.pass(TOKEN_LIMITS.tokenTtlSeconds);
  await sweepEnded(store, clock);
  const tables = ["tokens", "token-codes", "token-assertions", "token-keys", "token-principals"];
  assert.deepEqual(await Promise.all(tables.map(count)), [0, 0, 0, 1, 1]);
});

test("an idle key renews no more, but a clock that jumps and comes back ends no enrolment", async (t) => {
  const { tokens, clock, store } = await startTokens(t);
  const issued = await exchange(tokens, clock, codeForm((await tokens.bootstrap())?.code ?? ""));
  const { key } = await enrolHolder(tokens, clock);
  const renew = async () =>
    exchange(tokens, clock, renewalForm(await key.assert(SERVER, { clock, random: systemRandom })), key);
  clock.wall += (TOKEN_LIMITS.keyIdleSeconds + 1) * 1000;
  await sweepEnded(store, clock);
  await assert.rejects(renew(), { code: "INVALID_GRANT" });
  assert.ok(await tokens.bootstrap(), "an administrator who cannot come back must not lock everybody out");
  clock.wall -= (TOKEN_LIMITS.keyIdleSeconds + 1) * 1000;
  await renew();
  assert.deepEqual(issued.groups, ["admins"]);
});

test("the keys of one principal are limited; a code is not used up by it, and an idle key gives way", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const enrol = async () => (await tokens.enrol({ principal: DEMO, groups: [], by: ADA })).code;
  for (let i = 0; i < TOKEN_LIMITS.keysPerPrincipal; i++) await exchange(tokens, clock, codeForm(await enrol()));
  const code = await enrol();
  await assert.rejects(exchange(tokens, clock, codeForm(code)), { code: "TOKEN_LIMIT" });
  await tokens.revoke({ tokenId: (await tokens.list())[0]?.id ?? "" }, { by: ADA });
  await exchange(tokens, clock, codeForm(code));
  await assert.rejects(exchange(tokens, clock, codeForm(await enrol())), { code: "TOKEN_LIMIT" });
  clock.pass(TOKEN_LIMITS.keyIdleSeconds + 1);
  await exchange(tokens, clock, codeForm(await enrol()));
});

test("a flood of refused exchanges writes few events", async (t) => {
  const { tokens, recorder, clock } = await startTokens(t);
  const bad = () => tokens.exchange({ form: codeForm("x"), dpop: "x", url: TOKEN_URL }).catch(() => undefined);
  for (let i = 0; i < TOKEN_LIMITS.recordedRefusalsPerMinute * 3; i++) await bad();
  assert.equal(recorder.events.length, TOKEN_LIMITS.recordedRefusalsPerMinute);
  clock.pass(60);
  await bad();
  assert.equal(recorder.events.length, TOKEN_LIMITS.recordedRefusalsPerMinute + 1);
});

test("a record that was exchanged for another, even of the same key, opens nothing", async (t) => {
  const store = await sqliteStore(t);
  const { tokens, clock } = await startTokens(t, { store });
  const holder = await enrolHolder(tokens, clock);
  const admin = await enrolHolder(tokens, clock, { type: "Admin", id: "ada" });
  const assertion = await holder.key.assert(SERVER, { clock, random: systemRandom });
  const later = await exchange(tokens, clock, renewalForm(assertion), holder.key);
  for (const other of [admin.tokenId, later.tokenId]) {
    const of = await store.get("tokens", other);
    await store.put("tokens", holder.tokenId, of?.value ?? new Uint8Array());
    const dpop = await craftProof(holder, clock, URL_V1);
    const asked = { authorization: `DPoP ${holder.accessToken}`, dpop, method: "POST", url: URL_V1 };
    await assert.rejects(tokens.authenticate(asked), { code: "TOKEN_REFUSED" });
  }
});

test("a JWT that the key signed for another purpose renews nothing", async (t) => {
  const { tokens, clock } = await startTokens(t);
  const { key, jwk } = await enrolHolder(tokens, clock);
  const iat = Math.floor(clock.now() / 1000);
  const claims = { iss: key.thumbprint, sub: key.thumbprint, aud: SERVER, iat, exp: iat + 60 };
  const sign = async (typ: string, jti: string) =>
    new jose.SignJWT({ ...claims, jti })
      .setProtectedHeader({ alg: "ES256", typ })
      .sign(await jose.importJWK(jwk, "ES256"));
  for (const typ of ["JWT", "dpop+jwt", "client-authentication+jwt"]) {
    const form = renewalForm(await sign(typ, `for-${typ}`));
    await assert.rejects(exchange(tokens, clock, form, key), { code: "INVALID_GRANT" });
  }
  await exchange(tokens, clock, renewalForm(await sign("modelkeep-renewal+jwt", "a-good-one")), key);
});

test("forms of junk are refused with a code of the standard, and enrol nobody", async (t) => {
  const { tokens, clock, store } = await startTokens(t);
  const { key } = await enrolHolder(tokens, clock);
  const known = [GRANT_TYPE, ...Object.values(TOKEN_TYPES)];
  const names = ["grant_type", "subject_token", "subject_token_type", "requested_token_type", "actor_token"];
  const text = fc.oneof(fc.constantFrom(...known), fc.string({ maxLength: 300 }));
  const form = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...names), fc.string({ maxLength: 20 })), text), {
    maxLength: 8,
  });
  const codes = ["INVALID_GRANT", "INVALID_REQUEST", "UNSUPPORTED_GRANT_TYPE"];
  const runs = 200 * Math.max(1, Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 1));
  const entries = async () =>
    (await store.list("token-keys")).records.length + (await store.list("tokens")).records.length;
  const before = await entries();
  await fc.assert(
    fc.asyncProperty(form, async (pairs) => {
      const filled = new URLSearchParams([["grant_type", GRANT_TYPE], ...pairs]);
      const refused = await exchange(tokens, clock, filled, key).then(
        () => "accepted",
        (error) => error.code,
      );
      assert.ok(codes.includes(refused), refused);
    }),
    { numRuns: runs },
  );
  assert.equal(await entries(), before);
});
