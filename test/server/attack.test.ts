/** Callers who may do one thing and try another with it, against a whole server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as contract from "../../src/contract/index.ts";
import { DEFAULT_POLICY } from "../../src/policy/index.ts";
import { startTestServer } from "./support.ts";

test("who may set providers cannot have any secret sent to an address of his own", async (t) => {
  const { admin, workload, stop } = await startTestServer();
  t.after(stop);
  const front = await workload("front", ["front"]);
  const grants = `
    @id("front-providers") permit (principal in Group::"front", action == Action::"manageProvider", resource);
    @id("front-key") permit (principal in Group::"front", action == Action::"manageSecret", resource == Secret::"openai");
    @id("front-uses") permit (principal in Group::"front", action == Action::"useModel", resource);`;
  await admin.api.call(contract.setPolicy, { body: { text: DEFAULT_POLICY + grants } });
  const set = (secret: string) =>
    front.api.call(contract.setProvider, {
      params: { name: "mine" },
      body: { base_url: "http://127.0.0.1:9/v1", secret, models: ["m"] },
    });
  await assert.rejects(set("db-password"), { code: "FORBIDDEN" });
  const { providers } = await admin.api.call(contract.listProviders, {});
  assert.deepEqual(providers, []);
  assert.equal((await set("openai")).secret, "openai");
  await assert.rejects(front.api.call(contract.listSecrets, {}), { code: "FORBIDDEN" });
});
