/** Several replicas on one PostgreSQL write one log, all get their turn, and damage behind their backs is found. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { parseLeaf, verifyExport } from "../../src/audit/index.ts";
import type { ModelkeepError } from "../../src/base/index.ts";
import { Engines, open, POSTGRES_MISSING } from "../store/support.ts";
import { bytesOf, event, exportedLines, openTestLog } from "./support.ts";

const engines = new Engines();
before(() => engines.start());
after(() => engines.stop());

test("four replicas at full speed: every event once, none refused, one tree", async (t) => {
  const engine = engines.postgres();
  if (!engine) return t.skip(POSTGRES_MISSING);
  const url = engine.fresh();
  const stores = await Promise.all([1, 2, 3, 4].map(() => open(url)));
  t.after(() => Promise.all(stores.map((store) => store.close())));
  const logs = await Promise.all(stores.map((store) => openTestLog(store)));
  assert.equal(new Set(logs.map((log) => log.verifierKey)).size, 1, "replicas that start at once make one key");
  await Promise.all(
    logs.map(async (log, replica) => {
      for (let round = 0; round < 40; round++)
        await Promise.all([0, 1, 2].map((n) => log.record(event(replica * 1_000 + round * 3 + n))));
    }),
  );
  const [log] = logs;
  assert.ok(log);
  const lines = await exportedLines(log);
  const verdict = await verifyExport(bytesOf(lines), { key: log.verifierKey });
  assert.deepEqual([verdict.verdict, verdict.entries], ["accepted", 480]);
  const numbers = lines.slice(1, -1).map((line) => parseLeaf(Buffer.from(line))?.event.data?.n);
  assert.equal(new Set(numbers).size, 480);
  assert.deepEqual(await logs[3]?.checkpoint(), await log.checkpoint());

  engine.tamper(url, "DELETE FROM records WHERE tbl = 'audit-entries' AND id > '0000000000000300'");
  await assert.rejects(exportedLines(log), (error: ModelkeepError) => error.code === "AUDIT_TAMPERED");
  engine.tamper(url, "DELETE FROM records WHERE tbl = 'audit-head'");
  await assert.rejects(log.record(event(1)), (error: ModelkeepError) => error.code === "AUDIT_TAMPERED");
});
