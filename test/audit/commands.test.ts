/** modelkeep audit …: transcripts with their exit codes, over the real routes. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { hashLeaf, verifyConsistency, verifyInclusion } from "../../src/audit/index.ts";
import { fromBase64, utf8 } from "../../src/base/index.ts";
import { proveAuditConsistency, proveAuditInclusion } from "../../src/contract/index.ts";
import { admin, openHouse } from "./commands-support.ts";
import { event, record, temporaryFolder } from "./support.ts";

test("list prints a chain of custody: by reference and by root, oldest first", async (t) => {
  const { log, run } = await openHouse(t);
  const modelRoot = "cd".repeat(32);
  await record(log, 0, 30);
  await log.record(event(0, { action: "model.publish", resource: 'Model::"keeper@1"', modelRoot }));
  await log.record(
    event(0, { action: "key.release", outcome: "refused", resource: 'Model::"other"', reason: ["debug"], modelRoot }),
  );
  await log.record(event(0, { action: "model.load", resource: 'Model::"keeper@1"' }));
  await record(log, 30, 30);
  const listed = await run("audit", "list", "--model", "keeper@1", "--json");
  const { entries } = JSON.parse(listed.out) as { entries: { action: string; index: number }[] };
  assert.deepEqual(
    entries.map(({ action, index }) => [index, action]),
    [
      [30, "model.publish"],
      [31, "key.release"],
      [32, "model.load"],
    ],
  );
  const text = await run("audit", "list", "--model", "keeper@1");
  assert.equal(text.out.trimEnd().split("\n").length, 3);
  assert.match(
    text.out,
    /refused {2}key\.release {2}Workload::"demo" -> Model::"other" {2}root cdcdcdcdcdcd {2}\(debug\)/,
  );
  assert.equal((await run("audit", "list", "--outcome", "refused")).out.trimEnd().split("\n").length, 1);
  assert.equal((await run("audit", "list", "--limit", "7")).out.trimEnd().split("\n").length, 7);
  assert.equal((await run("audit", "list", "--action", "nothing")).out, "");
  for (const limit of ["0", "x", "1e3", "9999999"])
    assert.equal((await run("audit", "list", "--limit", limit)).exit, 2);
});

test("an exported log verifies without a server, and against an older checkpoint", async (t) => {
  const { log, run, read, folder } = await openHouse(t);
  await record(log, 0, 2_500);
  const older = await run("audit", "checkpoint");
  writeFileSync(join(folder, "older"), older.out);
  const key = /^key: (.*)$/m.exec(older.err)?.[1] ?? "";
  await record(log, 0, 100);
  assert.equal((await run("audit", "export", "--output", "audit.jsonl")).exit, 0);
  assert.equal((await run("audit", "export", "--output", "audit.jsonl")).exit, 1, "no file is written over");
  assert.equal(read("audit.jsonl").split("\n").length, 2_600 + 3);
  const good = await run("audit", "verify", "audit.jsonl", "--key", key, "--since", "older", "--json");
  const verdict = JSON.parse(good.out) as { verdict: string; entries: number };
  assert.deepEqual([good.exit, verdict.verdict, verdict.entries], [0, "accepted", 2_600]);

  const lines = read("audit.jsonl").split("\n");
  writeFileSync(
    join(folder, "changed"),
    lines.with(1_000, (lines[1_000] ?? "").replace("allowed", "refused")).join("\n"),
  );
  assert.equal((await run("audit", "verify", "changed")).exit, 4);
  writeFileSync(join(folder, "cut"), lines.slice(0, 1_000).join("\n"));
  const cut = await run("audit", "verify", "cut", "--json");
  assert.deepEqual([cut.exit, JSON.parse(cut.out).verdict], [4, "refused"]);
  writeFileSync(join(folder, "none"), "not an export\n");
  assert.equal((await run("audit", "verify", "none")).exit, 1);
  assert.equal((await run("audit", "verify", "missing")).exit, 1);
  assert.equal((await run("audit", "verify", "audit.jsonl", "--key", "x")).exit, 2);
  assert.equal((await run("audit", "verify", "audit.jsonl", "--since", "none")).exit, 1);
});

test("verify asks the server, remembers what it saw, and finds another log in its place", async (t) => {
  const folder = temporaryFolder(t);
  const house = await openHouse(t, folder);
  await record(house.log, 0, 10);
  assert.equal((await house.run("audit", "verify")).exit, 0);
  await record(house.log, 10, 10);
  const second = JSON.parse((await house.run("audit", "verify", "--json")).out) as { rules: { result: string }[] };
  assert.ok(
    second.rules.every(({ result }) => result === "passed"),
    "the key and the checkpoint were remembered",
  );

  const other = await openHouse(t, folder);
  await record(other.log, 0, 50);
  assert.equal((await other.run("audit", "verify")).exit, 4);
  assert.equal((await other.run("audit", "verify")).exit, 4, "what was refused is not remembered");
  assert.equal((await other.run("audit", "verify", "--forget")).exit, 0);
  assert.equal((await house.run("audit", "verify")).exit, 4);
});

test("verify refuses a server whose database was changed, cut or rolled back", async (t) => {
  const house = await openHouse(t);
  for (let n = 0; n < 10; n++) await house.log.record(event(n));
  const db = new DatabaseSync(house.path);
  t.after(() => db.close());
  const backup = db.prepare("SELECT * FROM records WHERE tbl LIKE 'audit-%'").all();
  for (let n = 0; n < 10; n++) await house.log.record(event(n));
  assert.equal((await house.run("audit", "verify")).exit, 0);
  const newest = db.prepare("SELECT * FROM records WHERE tbl LIKE 'audit-%'").all();
  const restore = (rows: typeof backup) => {
    db.exec("DELETE FROM records WHERE tbl LIKE 'audit-%'");
    const put = db.prepare("INSERT INTO records (tbl, id, version, value) VALUES (?, ?, ?, ?)");
    for (const { tbl, id, version, value } of rows)
      put.run(String(tbl), String(id), Number(version), value as Uint8Array);
  };
  for (const damage of [
    "DELETE FROM records WHERE tbl = 'audit-entries' AND id LIKE '%05'",
    "UPDATE records SET id = '0000000000000099' WHERE tbl = 'audit-entries' AND id LIKE '%05'",
    "UPDATE records SET value = zeroblob(300) WHERE tbl = 'audit-entries' AND id LIKE '%05'",
    "DELETE FROM records WHERE tbl = 'audit-head'",
  ]) {
    db.exec(damage);
    const refused = await house.run("audit", "verify", "--json");
    assert.deepEqual([refused.exit, JSON.parse(refused.out).verdict], [4, "refused"], damage);
    restore(newest);
    assert.equal((await house.run("audit", "verify")).exit, 0);
  }
  restore(backup);
  const rolledBack = await house.run("audit", "verify", "--json");
  const failed = (JSON.parse(rolledBack.out).rules as { id: string; result: string }[]).filter(
    ({ result }) => result === "failed",
  );
  assert.deepEqual([rolledBack.exit, failed.map(({ id }) => id)], [4, ["since"]]);
});

test("the proofs of the routes hold, and only who may read the log gets anything", async (t) => {
  const house = await openHouse(t);
  await record(house.log, 0, 300);
  const before = await house.log.checkpoint();
  await record(house.log, 0, 41);
  const now = await house.log.checkpoint();
  const decode = (hashes: readonly string[]) => hashes.map((hash) => fromBase64(hash) ?? new Uint8Array(0));
  const inclusion = await house.api.call(proveAuditInclusion, { body: { index: "77" } });
  assert.ok(
    verifyInclusion({
      index: 77,
      size: inclusion.size,
      leafHash: hashLeaf(utf8(inclusion.leaf)),
      root: now.root,
      hashes: decode(inclusion.hashes),
    }),
  );
  const consistency = await house.api.call(proveAuditConsistency, { body: { from: "300" } });
  const sizes = { fromSize: 300, fromRoot: before.root, toSize: consistency.to, toRoot: now.root };
  assert.ok(verifyConsistency({ ...sizes, hashes: decode(consistency.hashes) }));

  house.caller = { ...admin, principal: { type: "Workload", id: "nosy" }, groups: [] };
  for (const words of [["list"], ["checkpoint"], ["verify"], ["export", "--output", "x"]])
    assert.equal((await house.run("audit", ...words)).exit, 3, words.join(" "));
  const { entries } = await house.log.list({ outcome: "refused" });
  assert.deepEqual(
    new Set(entries.map((entry) => `${entry.event.principal} ${entry.event.action}`)),
    new Set(['Workload::"nosy" policy.readAudit']),
  );
});
