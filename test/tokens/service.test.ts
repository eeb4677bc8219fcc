/** Enrolment, exchange, renewal, revocation: what the service promises when everybody behaves, and at its edges. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { systemRandom } from "../../src/host/index.ts";
import { ProofKey, TOKEN_LIMITS } from "../../src/tokens/index.ts";
import { ADA, codeForm, DEMO, enrolHolder, renewalForm, SERVER, startTokens, TOKEN_URL } from "./support.ts";

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
