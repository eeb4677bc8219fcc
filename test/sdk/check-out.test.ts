/** A secret in an application: renewed while it is used, wiped at the end of its block, whoever ended it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as contract from "../../src/contract/index.ts";
import { type CheckedOut, checkOut } from "../../src/sdk/index.ts";
import { sealValue } from "../../src/secrets/index.ts";
import { startTestServer } from "../server/support.ts";

const VALUE = "sk-canary-checked-out-0123456789";
const POLICY = `\n@id("app")\npermit (principal == Workload::"app", action == Action::"checkoutSecret", resource)\n  when { context has purpose && context.purpose == "tests" };\n`;

async function start(t: TestContext) {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const { api } = keep.admin;
  const key = await api.call(contract.getTransportKey, {});
  const receiver = { keyId: key.key_id, publicKey: key.public_key };
  const { keyId, enc, ciphertext } = sealValue(Buffer.from(VALUE), receiver, {
    direction: "put",
    name: "openai/prod",
  });
  const sealed = { key_id: keyId, enc, ciphertext };
  await api.call(contract.putSecret, { params: { name: "openai/prod" }, body: { sealed } });
  const { text, version } = await api.call(contract.getPolicy, {});
  await api.call(contract.setPolicy, { body: { text: text + POLICY, if_version: version } });
  const app = await keep.workload("app");
  const leases = async () => (await api.call(contract.listLeases, {})).leases;
  return { keep, api, app, leases };
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 10_000; waited += 50) {
    if (await what()) return;
    await sleep(50);
  }
  assert.fail("it did not come");
}

const purpose = "tests";

test("await using: lent for the block, given back after it, also when it throws", async (t) => {
  const { app, leases, keep } = await start(t);
  let kept: CheckedOut | undefined;
  const work = async () => {
    await using key = await app.checkOut("openai/prod", { purpose });
    kept = key;
    assert.equal(
      key.use((bytes) => Buffer.from(bytes).toString()),
      VALUE,
    );
    assert.equal(key.insecureText(), VALUE);
    const [lease] = await leases();
    assert.deepEqual([lease?.secret, lease?.purpose, lease?.holder], ["openai/prod", purpose, 'Workload::"app"']);
    throw new Error("the application failed");
  };
  await assert.rejects(work, /the application failed/);
  assert.deepEqual(await leases(), []);
  assert.equal(kept?.ended, true);
  assert.throws(() => kept?.use(() => 0), { code: "CHECK_OUT_ENDED" });
  assert.ok(!keep.lines.join("").includes(VALUE));
});

test("policy sees what it is for", async (t) => {
  const { app } = await start(t);
  await assert.rejects(app.checkOut("openai/prod", { purpose: "theft" }), { code: "FORBIDDEN" });
  await assert.rejects(app.checkOut("openai/prod"), { code: "FORBIDDEN" });
  await assert.rejects(app.checkOut("openai/none", { purpose }), { code: "SECRET_NOT_FOUND" });
});

test("renewed while it is in use, and wiped within its time when it was revoked", async (t) => {
  const { app, api, leases } = await start(t);
  const key = await app.checkOut("openai/prod", { purpose, ttlSeconds: 3 });
  const first = key.expiresAt;
  await until(() => key.expiresAt > first);
  assert.equal((await leases())[0]?.renewals, 1);
  let told = 0;
  key.onEnd(() => told++);
  await api.call(contract.revokeLeases, { body: { prefix: "openai/" } });
  await until(() => key.ended);
  assert.equal(told, 1);
  assert.throws(() => key.insecureText(), { code: "CHECK_OUT_ENDED" });
  await key.checkIn();
  const short = await app.checkOut("openai/prod", { purpose, ttlSeconds: 1, renew: false });
  await until(() => short.ended);
  assert.deepEqual(await leases(), []);
});

test("a server that is away: the value stays until its time, check-in does not fail", async (t) => {
  const { app } = await start(t);
  const broken = { ...app.api, call: app.api.call.bind(app.api) };
  const key = await checkOut({ api: broken }, "openai/prod", { purpose, ttlSeconds: 2 });
  broken.call = () => Promise.reject(new TypeError("fetch failed"));
  await sleep(1_500);
  assert.equal(key.insecureText(), VALUE);
  await until(() => key.ended);
  await key.checkIn();
});

test("killed with -9: the program's descriptor stays alone, nothing has a name, and the lease ends by its time", async (t) => {
  if (!existsSync("/dev/shm")) return t.skip("needs /dev/shm: run it on Linux");
  const { keep, api, leases } = await start(t);
  const { text, version } = await api.call(contract.getPolicy, {});
  const own = `\n@id("me")\npermit (principal is Admin, action == Action::"checkoutSecret", resource);\n`;
  await api.call(contract.setPolicy, { body: { text: text + own, if_version: version } });
  const bin = fileURLToPath(new URL("../../bin/modelkeep.mjs", import.meta.url));
  const env = { PATH: process.env.PATH, HOME: keep.folder, XDG_CONFIG_HOME: join(keep.folder, "client") };
  const run = (words: string[], input = "") => {
    const child = spawn(process.execPath, [bin, ...words], { env });
    let out = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    child.stdin.end(input);
    return { child, out: () => out, ended: new Promise<number | null>((resolve) => child.on("exit", resolve)) };
  };
  const { code } = await api.call(contract.issueEnrolment, {
    body: { workload: "root", groups: ["admins"], admin: true },
  });
  assert.equal(await run(["login", "--server", keep.server.url], code).ended, 0);
  const before = readdirSync("/dev/shm");
  const script = "echo begun; sleep 3; cat $MODELKEEP_SECRET_FILE";
  const lent = run(["checkout", "openai/prod", "--ttl", "4", "--", "sh", "-c", script]);
  await until(() => lent.out().includes("begun"));
  assert.deepEqual(
    readdirSync("/dev/shm").filter((name) => !before.includes(name)),
    [],
  );
  assert.equal((await leases()).length, 1);
  lent.child.kill("SIGKILL");
  await until(() => lent.out().includes(VALUE));
  await until(async () => (await leases()).length === 0);
  const filed = run(["checkout", "openai/prod", "--ttl", "4", "--file", "--", "sh", "-c", "echo begun; sleep 1"]);
  await until(() => filed.out().includes("begun"));
  filed.child.kill("SIGKILL");
  const left = () =>
    readdirSync("/dev/shm").filter((name) => !before.includes(name) && name.startsWith("modelkeep-lent"));
  assert.equal(left().length, 1);
  await filed.ended;
  assert.equal(await run(["checkout", "openai/prod", "--", "true"]).ended, 0);
  assert.deepEqual(left(), []);
});
