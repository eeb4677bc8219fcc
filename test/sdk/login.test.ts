/** modelkeep login, whoami, token, logout: the code comes on stdin, and the credentials are one file of mode 0600. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { silentLog } from "../../src/base/index.ts";
import { commands } from "../../src/cli/commands/index.ts";
import { connectWithCredentials, ensureEnrolled } from "../../src/cli/connect.ts";
import { credentialsPath } from "../../src/cli/credentials.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { issueEnrolment, revokeToken, whoAmI } from "../../src/contract/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { startTestServer, type TestServer } from "../server/support.ts";

const { signal } = new AbortController();

function environment(keep: TestServer): Record<string, string> {
  return { HOME: keep.folder, XDG_CONFIG_HOME: join(keep.folder, "client"), MODELKEEP_SERVER: keep.server.url };
}

/** A command line inside this process. */
async function modelkeep(keep: TestServer, words: string[], input = "") {
  const env = environment(keep);
  const said: { out: string[]; err: string[] } = { out: [], err: [] };
  const code = await runCommandLine(words, {
    commands,
    version: "0",
    stdin: (async function* () {
      yield Buffer.from(input);
    })(),
    stdout: { write: (text) => said.out.push(text) },
    stderr: { write: (text) => said.err.push(text) },
    env,
    cwd: keep.folder,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    signal,
    connect: () => connectWithCredentials(env, signal),
  });
  return { code, out: said.out.join(""), err: said.err.join("") };
}

const problemOf = (ran: { out: string }) => JSON.parse(ran.out).code;

test("login, whoami, token and logout, with the code on stdin", async (t) => {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const file = credentialsPath(environment(keep));
  const { code } = await keep.admin.api.call(issueEnrolment, { body: { workload: "grace", admin: true } });
  assert.equal((await modelkeep(keep, ["whoami"])).code, 3);
  const login = await modelkeep(keep, ["login", "--json"], `${code}\n`);
  assert.deepEqual(JSON.parse(login.out), { server: keep.server.url, principal: 'Admin::"grace"' });
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.ok(!readFileSync(file, "utf8").includes(code));
  assert.match((await modelkeep(keep, ["whoami"])).out, /^Admin::"grace" in admins/);
  const issued = await modelkeep(keep, ["token", "issue", "--for", "demo", "--group", "team", "--ttl", "60"]);
  assert.match(issued.out, /^mkc_[A-Za-z0-9_-]{27}\n$/);
  const shown = JSON.parse((await modelkeep(keep, ["token", "show", "--json"])).out);
  assert.ok(shown.tokens.some((token: { principal: { id: string } }) => token.principal.id === "grace"));
  const revoked = JSON.parse((await modelkeep(keep, ["token", "revoke", "--json", "--principal", "demo"])).out);
  assert.deepEqual(revoked, { principal: { type: "Workload", id: "demo" }, codes: 1, keys: 0, tokens: 0, leases: 0 });
  const stolen = readFileSync(file);
  assert.equal((await modelkeep(keep, ["logout"])).code, 0);
  assert.ok(!existsSync(file));
  writeFileSync(file, stolen, { mode: 0o600 });
  assert.equal(problemOf(await modelkeep(keep, ["whoami", "--json"])), "RENEWAL_REFUSED");
});

test("words that are no command", async (t) => {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const wrong = [
    ["token", "revoke"],
    ["token", "revoke", "--token", "a", "--principal", "b"],
    ["token", "issue"],
    ["agent", "--as", "billing"],
    ["agent", "--as", "a b", "--", "true"],
    ["login", "--server", "http://keep.example.com"],
    ["login", "--server", "ftp://127.0.0.1"],
    ["login", "--server", "https://user:password@keep.example.com"],
  ];
  for (const words of wrong)
    assert.equal((await modelkeep(keep, words, "mkc_0000000000000000")).code, 2, words.join(" "));
  for (const code of ["", "\n", "two words", "\u0000", "ä"]) {
    assert.equal(problemOf(await modelkeep(keep, ["login", "--json"], code)), "CODE_INVALID");
  }
  assert.equal(problemOf(await modelkeep(keep, ["login", "--json"], "x".repeat(1000))), "LIMIT_EXCEEDED");
  assert.equal(problemOf(await modelkeep(keep, ["login", "--json"], "mkc_0000000000000000")), "ENROLMENT_REFUSED");
});

test("credentials that others may read, that are a link, or that are damaged", async (t) => {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const file = credentialsPath(environment(keep));
  const { code } = await keep.admin.api.call(issueEnrolment, { body: { workload: "grace", admin: true } });
  await modelkeep(keep, ["login"], code);
  const good = readFileSync(file);
  for (const mode of [0o640, 0o604, 0o620, 0o602]) {
    chmodSync(file, mode);
    assert.equal(problemOf(await modelkeep(keep, ["whoami", "--json"])), "CREDENTIALS_UNSAFE");
  }
  chmodSync(file, 0o600);
  const key = JSON.parse(good.toString()).key.d;
  for (const damaged of [
    "",
    "{",
    good.toString().replace(key, key.slice(1)),
    good.toString().replace('"version":1', '"version":2'),
  ]) {
    writeFileSync(file, damaged);
    const ran = await modelkeep(keep, ["whoami", "--json"]);
    assert.equal(problemOf(ran), "CREDENTIALS_DAMAGED");
    assert.ok(!(ran.out + ran.err).includes(key.slice(1)));
  }
  const elsewhere = join(keep.folder, "elsewhere.json");
  writeFileSync(elsewhere, good, { mode: 0o600 });
  symlinkSync(elsewhere, credentialsPath(environment(keep), "linked"));
  await assert.rejects(connectWithCredentials(environment(keep), signal, "linked"), { code: "CREDENTIALS_UNSAFE" });
});

test("a workload enrols once, keeps its key, and enrols again after a revocation when it has a code", async (t) => {
  const keep = await startTestServer();
  t.after(() => keep.stop());
  const env = environment(keep);
  let asked = 0;
  const codes: string[] = [];
  const issue = async () => {
    codes.push((await keep.admin.api.call(issueEnrolment, { body: { workload: "w" } })).code);
  };
  const enrolled = () =>
    ensureEnrolled({
      env,
      signal,
      as: "w",
      readCode: async () => {
        asked++;
        const code = codes.shift();
        return code === undefined ? undefined : Buffer.from(code);
      },
    });
  await assert.rejects(enrolled(), { code: "NOT_LOGGED_IN" });
  await issue();
  const first = await (await enrolled()).api.call(whoAmI, {});
  assert.deepEqual([first.principal.id, asked], ["w", 2]);
  const second = await (await enrolled()).api.call(whoAmI, {});
  assert.deepEqual([second.key_thumbprint, asked], [first.key_thumbprint, 2]);
  await keep.admin.api.call(revokeToken, { body: { principal: { type: "Workload", id: "w" } } });
  await assert.rejects(enrolled(), { code: "NOT_LOGGED_IN" });
  await issue();
  const third = await (await enrolled()).api.call(whoAmI, {});
  assert.notEqual(third.key_thumbprint, first.key_thumbprint);
});
