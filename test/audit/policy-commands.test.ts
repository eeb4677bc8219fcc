/** modelkeep policy …: offline checks with exit codes, and the policy of the server. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DEFAULT_POLICY } from "../../src/policy/index.ts";
import { openHouse } from "./commands-support.ts";

const MORE = `${DEFAULT_POLICY}
@id("demo")
permit (principal == Workload::"demo", action == Action::"useModel", resource == ProviderModel::"p/m");
`;
const CASES = `
- name: demo may
  principal: Workload::"demo"
  action: useModel
  resource: ProviderModel::"p/m"
  expect: allow
- name: others may not
  principal: Workload::"other"
  action: useModel
  resource: ProviderModel::"p/m"
  expect: deny
`;

test("check and test work on files, and fail with 1", async (t) => {
  const { run, folder } = await openHouse(t);
  const write = (name: string, text: string | Uint8Array) => writeFileSync(join(folder, name), text);
  write("good.cedar", MORE);
  write("bad.cedar", MORE.replaceAll('Action::"useModel"', 'Action::"useModle"'));
  write("latin.cedar", Uint8Array.of(0x2f, 0x2f, 0xe4));
  write("cases.yaml", CASES);
  write("wrong.yaml", CASES.replace("expect: deny", "expect: allow"));
  write("broken.yaml", "- principal: 7");
  assert.equal((await run("policy", "check", "good.cedar")).exit, 0);
  const bad = await run("policy", "check", "bad.cedar", "--json");
  const check = JSON.parse(bad.out) as { ok: boolean; errors: { line: number; policy: string }[] };
  assert.deepEqual([bad.exit, check.ok, check.errors[0]?.policy], [1, false, "demo"]);
  assert.match((await run("policy", "check", "bad.cedar")).out, /^bad\.cedar:\d+:\d+: error: demo: /);
  assert.equal((await run("policy", "check", "latin.cedar")).exit, 1);
  assert.equal((await run("policy", "check", "missing.cedar")).exit, 1);
  assert.equal((await run("policy", "check")).exit, 2);

  assert.equal((await run("policy", "test", "good.cedar", "cases.yaml")).exit, 0);
  const failed = await run("policy", "test", "good.cedar", "wrong.yaml");
  assert.equal(failed.exit, 1);
  assert.match(failed.out, /^failed {2}others may not: expected allow; refused/m);
  assert.match(failed.out, /^1 passed, 1 failed$/m);
  assert.equal((await run("policy", "test", "good.cedar", "broken.yaml")).exit, 2);
  assert.equal((await run("policy", "test", "bad.cedar", "cases.yaml")).exit, 1);
});

test("explain names the policy that decided, from a file or the server's", async (t) => {
  const { run, folder } = await openHouse(t);
  writeFileSync(join(folder, "more.cedar"), MORE);
  const ask = ["--principal", 'Workload::"demo"', "--action", "useModel", "--resource", 'ProviderModel::"p/m"'];
  const refused = JSON.parse((await run("policy", "explain", ...ask, "--json")).out) as { allowed: boolean };
  assert.equal(refused.allowed, false);
  const allowed = JSON.parse((await run("policy", "explain", ...ask, "--file", "more.cedar", "--json")).out) as {
    allowed: boolean;
    policies: string[];
  };
  assert.deepEqual([allowed.allowed, allowed.policies], [true, ["demo"]]);
  const admins = [
    "--principal",
    'Admin::"ada"',
    "--group",
    "admins",
    "--action",
    "readAudit",
    "--resource",
    'Server::"local"',
  ];
  assert.match((await run("policy", "explain", ...admins)).out, /^allowed: .*admins-administer/);
  assert.equal((await run("policy", "explain", ...ask, "--context", "[1]")).exit, 2);
  assert.equal((await run("policy", "explain", ...ask.with(1, "demo"))).exit, 2);
});

test("set replaces the policy of the server, not one that locks its author out, and show prints it", async (t) => {
  const { run, folder, log } = await openHouse(t);
  writeFileSync(join(folder, "more.cedar"), MORE);
  writeFileSync(join(folder, "locked.cedar"), 'permit (principal, action == Action::"useModel", resource);');
  writeFileSync(join(folder, "broken.cedar"), "permit (");
  assert.equal((await run("policy", "show")).out, DEFAULT_POLICY);
  assert.equal((await run("policy", "set", "broken.cedar")).exit, 1);
  assert.equal((await run("policy", "set", "more.cedar", "--if-version", "3")).exit, 1);
  assert.equal((await run("policy", "set", "more.cedar", "--if-version", "x")).exit, 2);
  const set = JSON.parse((await run("policy", "set", "more.cedar", "--json")).out) as {
    version: number;
    set_by: string;
  };
  assert.deepEqual([set.version, set.set_by], [1, 'Admin::"ada"']);
  assert.equal((await run("policy", "show")).out, MORE);
  assert.notEqual((await run("policy", "set", "locked.cedar")).exit, 0);
  assert.equal((await run("policy", "show")).out, MORE);
  assert.equal((await run("policy", "set", "locked.cedar", "--allow-lockout")).exit, 0);
  assert.equal((await run("policy", "show")).exit, 3);
  assert.equal((await log.list({ action: "policy.set" })).entries.length, 2);
});
