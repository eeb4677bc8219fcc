/** Bodies in flight are bounded for all and for each: at the limit, above it, and after everything that can go wrong. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { test } from "node:test";
import fc from "fast-check";
import { ATTESTATION_LIMITS } from "../../src/attestation/index.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import * as contract from "../../src/contract/index.ts";
import { BodyBudget } from "../../src/server/budget.ts";
import { SERVER_LIMITS } from "../../src/server/limits.ts";
import { startTestServer } from "./support.ts";

const busy = (error: unknown) =>
  error instanceof ModelkeepError && error.code === "SERVER_BUSY" && error.status === 503;
const LIMITS = { bodiesInFlightBytes: 100, principalBodiesInFlightBytes: 60 };

test("one principal fills its own part and not that of others; what ends gives back", () => {
  const budget = new BodyBudget(LIMITS);
  const [a, b, c] = ["a", "a", "b"].map((name) => budget.share(name));
  a?.take(60);
  assert.throws(() => b?.take(1), busy);
  c?.take(40);
  assert.throws(() => c?.take(1), busy, "of all together");
  a?.end();
  a?.end();
  assert.equal(budget.bytes, 40);
  b?.take(60);
  assert.equal(budget.bytes, 100);
  b?.end();
  c?.end();
  assert.equal(budget.bytes, 0);
});

test("whatever is taken in whatever order, the limits hold and nothing is left (property)", () => {
  const step = fc.record({ who: fc.constantFrom("a", "b", "c"), bytes: fc.nat(70), ends: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const budget = new BodyBudget(LIMITS);
      const open: ReturnType<BodyBudget["share"]>[] = [];
      for (const { who, bytes, ends } of steps) {
        const share = budget.share(who);
        try {
          share.take(bytes);
        } catch (error) {
          assert.ok(busy(error));
        }
        if (ends) share.end();
        else open.push(share);
        assert.ok(budget.bytes <= LIMITS.bodiesInFlightBytes);
      }
      for (const share of open) share.end();
      assert.equal(budget.bytes, 0);
    }),
  );
});

test("the release takes evidence at its limits, and the contract and the attestation agree on them", () => {
  assert.equal(contract.EVIDENCE_BYTES, ATTESTATION_LIMITS.evidenceBytes);
  assert.equal(contract.DEVICE_EVIDENCE_BYTES, ATTESTATION_LIMITS.deviceEvidenceBytes);
  const text = (bytes: number) => Buffer.alloc(bytes).toString("base64url");
  const { evidenceBytes, deviceEvidenceBytes } = ATTESTATION_LIMITS;
  const ask = (data: string, devices: string) => ({
    nonce: "A".repeat(43),
    public_key: "A".repeat(87),
    model: `${"m".repeat(50)}@1`,
    evidence: { kind: "a".repeat(32), data, devices },
  });
  const largest = ask(text(evidenceBytes), text(deviceEvidenceBytes));
  assert.ok(contract.releaseRequest.safeParse(largest).success);
  assert.ok(JSON.stringify(largest).length <= contract.RELEASE_BODY_BYTES);
  assert.equal(contract.releaseRequest.safeParse(ask(text(evidenceBytes + 1), "A")).success, false);
  assert.equal(contract.releaseRequest.safeParse(ask("A", text(deviceEvidenceBytes + 1))).success, false);
  assert.ok(contract.RELEASE_BODY_BYTES * 3 < SERVER_LIMITS.principalBodiesInFlightBytes);
});

test("bodies that stall fill the part of their principal: others are served, and when they end it is free", async (t) => {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const { port } = new URL(keep.server.url);
  const greedy = await keep.workload("greedy");
  const url = `${keep.server.url}/api/v1/releases`;
  const stalled: ReturnType<typeof request>[] = [];
  const part = Buffer.alloc(contract.RELEASE_BODY_BYTES - 1, " ");
  const open = async () => {
    const headers = { ...(await greedy.session.prove("POST", url)), "content-type": "application/json" };
    const outgoing = request({
      host: "127.0.0.1",
      port,
      method: "POST",
      path: "/api/v1/releases",
      headers,
      agent: false,
    });
    outgoing.on("error", () => undefined);
    outgoing.write(part);
    stalled.push(outgoing);
    return outgoing;
  };
  const outgoing = await Promise.all([open(), open(), open(), open()]);
  const answers = outgoing.map(
    async (one) => ((await once(one, "response")) as [{ statusCode: number }])[0].statusCode,
  );
  assert.equal(await Promise.race(answers), 503, "the fourth does not fit");
  const info = await keep.admin.api.call(contract.serverInfo, {});
  assert.equal(info.store, "sqlite");
  const nonce = await (await keep.workload("modest")).api.call(contract.challengeRelease, { body: {} });
  assert.equal(nonce.nonce.length, 43);
  for (const one of stalled) one.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  await greedy.api.call(contract.challengeRelease, { body: {} });
});
