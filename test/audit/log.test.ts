/** The log keeps what it was told, in batches, on one store with several replicas, and shows every change. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import {
  AUDIT_LIMITS,
  hashLeaf,
  openAuditLog,
  parseLeaf,
  parseVerifierKey,
  verifyCheckpoint,
  verifyConsistency,
  verifyExport,
  verifyInclusion,
} from "../../src/audit/index.ts";
import { type AuditEvent, ModelkeepError, silentLog } from "../../src/base/index.ts";
import { systemClock } from "../../src/host/index.ts";
import {
  bytesOf,
  event,
  exportedLines,
  naiveRoot,
  openTestLog,
  openTestStore,
  record,
  temporaryFolder,
} from "./support.ts";

const failsWith = (code: string) => (error: unknown) => error instanceof ModelkeepError && error.code === code;

test("an empty log has a signed checkpoint of nothing", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  const { size, note } = await log.checkpoint();
  const checkpoint = verifyCheckpoint(note, parseVerifierKey(log.verifierKey));
  assert.equal(size, 0);
  assert.deepEqual(checkpoint?.root, naiveRoot([]));
  assert.equal((await verifyExport(bytesOf(await exportedLines(log)))).verdict, "accepted");
});

test("what was recorded at once has one checkpoint, the right root, and an order", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  await record(log, 0, 700);
  const { size, root } = await log.checkpoint();
  const { leaves } = await log.leaves(0, size);
  assert.equal(size, 700);
  assert.deepEqual(root, naiveRoot(leaves));
  assert.deepEqual(
    leaves.map((leaf) => parseLeaf(leaf)?.event.data?.n),
    Array.from({ length: 700 }, (_, n) => n),
  );
});

test("a log that is opened again goes on where it was, under the same key and name", async (t) => {
  const { store } = await openTestStore(t);
  let log = await openTestLog(store);
  const key = log.verifierKey;
  for (const count of [1, 255, 1, 300]) {
    await record(log, 0, count);
    await log.close();
    log = await openTestLog(store, "another.name");
  }
  assert.equal(log.verifierKey, key);
  assert.equal((await log.checkpoint()).size, 557);
  const lines = await exportedLines(log);
  assert.equal((await verifyExport(bytesOf(lines), { key })).verdict, "accepted");
  assert.deepEqual((await log.checkpoint()).root, naiveRoot(lines.slice(1, -1).map((line) => Buffer.from(line))));
});

test("proofs out of the stored tiles hold, at every size around the tile borders", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  await record(log, 0, 1030);
  const { leaves } = await log.leaves(0, 1030);
  const roots = new Map<number, Uint8Array>();
  for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 513, 1024, 1030])
    roots.set(size, naiveRoot(leaves.slice(0, size)));
  for (const [size, root] of roots) {
    for (const index of [0, 1, 254, 255, 256, 511, 512, 1023, 1029].filter((i) => i < size)) {
      const { leaf, hashes } = await log.inclusionProof(index, size);
      assert.ok(verifyInclusion({ index, size, leafHash: hashLeaf(leaf), root, hashes }), `${index} in ${size}`);
    }
    for (const [fromSize, fromRoot] of roots) {
      if (fromSize > size) continue;
      const { hashes } = await log.consistencyProof(fromSize, size);
      assert.ok(
        verifyConsistency({ fromSize, fromRoot, toSize: size, toRoot: root, hashes }),
        `${fromSize} to ${size}`,
      );
    }
  }
});

test("ranges that the log does not have are refused", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  await record(log, 0, 3);
  await assert.rejects(log.inclusionProof(3), failsWith("AUDIT_RANGE_INVALID"));
  await assert.rejects(log.inclusionProof(0, 4), failsWith("AUDIT_RANGE_INVALID"));
  await assert.rejects(log.consistencyProof(4), failsWith("AUDIT_RANGE_INVALID"));
  await assert.rejects(log.leaves(0, 4), failsWith("AUDIT_RANGE_INVALID"));
  await assert.rejects(log.leaves(2, 1), failsWith("AUDIT_RANGE_INVALID"));
});

test("an event that cannot be kept is refused alone; its neighbours are kept", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  const big = "x".repeat(AUDIT_LIMITS.eventBytes);
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const results = await Promise.allSettled([
    log.record(event(0)),
    log.record(event(1, { data: { big } })),
    log.record(event(2, { data: { bad: "\ud800" } })),
    log.record(event(3, { data: { n: Number.NaN } })),
    log.record(event(4, { outcome: "perhaps" as AuditEvent["outcome"] })),
    log.record(event(5, { data: { when: 5n as unknown as string } })),
    log.record(event(6, { data: circle })),
    log.record(event(7, { data: JSON.parse('{"__proto__":1}') })),
    log.record(event(8)),
  ]);
  const codes = results.map((result) =>
    result.status === "fulfilled" ? "kept" : (result.reason as ModelkeepError).code,
  );
  const invalid = "AUDIT_EVENT_INVALID";
  assert.deepEqual(codes, [
    "kept",
    "AUDIT_EVENT_TOO_LARGE",
    invalid,
    invalid,
    invalid,
    invalid,
    invalid,
    invalid,
    "kept",
  ]);
  assert.deepEqual(
    (await log.list()).entries.map((entry) => entry.event.data?.n),
    [8, 0],
  );
});

test("events in flight go into few batches, and each waits for its own", async (t) => {
  const { store } = await openTestStore(t);
  let batches = 0;
  const counting = Object.assign(Object.create(store) as typeof store, {
    get: store.get.bind(store),
    list: store.list.bind(store),
    transaction: (work: Parameters<typeof store.transaction>[0]) => {
      batches++;
      return store.transaction(work);
    },
  });
  const log = await openTestLog(counting);
  const before = batches;
  await record(log, 0, AUDIT_LIMITS.batchEvents * 2 + 1);
  assert.equal(batches - before, 3);
});

test("a store that fails refuses the batch, and the next event is kept once it works again", async (t) => {
  const { store } = await openTestStore(t);
  let broken = false;
  const flaky = Object.assign(Object.create(store) as typeof store, {
    get: store.get.bind(store),
    list: store.list.bind(store),
    transaction: <T>(work: Parameters<typeof store.transaction<T>>[0]) =>
      store.transaction<T>(async (tx) => {
        const result = await work(tx);
        if (broken) throw new Error("the disk is gone");
        return result;
      }),
  });
  const log = await openTestLog(flaky);
  await record(log, 0, 5);
  broken = true;
  await assert.rejects(log.record(event(5)), /the disk is gone/);
  broken = false;
  await log.record(event(6));
  const lines = await exportedLines(log);
  assert.equal((await verifyExport(bytesOf(lines), { key: log.verifierKey })).verdict, "accepted");
  assert.equal(lines.length, 6 + 2);
});

test("a queue that is full refuses at once, a closed log too, and close writes what waits", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  const waiting = Array.from({ length: AUDIT_LIMITS.queuedEvents }, (_, n) => log.record(event(n)));
  await assert.rejects(log.record(event(-1)), failsWith("AUDIT_BUSY"));
  await log.close();
  await Promise.all(waiting);
  await assert.rejects(log.record(event(-2)), failsWith("AUDIT_CLOSED"));
  const again = await openTestLog(store);
  assert.equal((await again.checkpoint()).size, AUDIT_LIMITS.queuedEvents);
});

test("two replicas on one store write one log", async (t) => {
  const { store, path } = await openTestStore(t);
  const other = (await openTestStore(t, `sqlite:${path}`)).store;
  const [a, b] = [await openTestLog(store), await openTestLog(other)];
  for (let round = 0; round < 20; round++) {
    await record(a, round, 3);
    await record(b, round, 20);
  }
  assert.equal(a.verifierKey, b.verifierKey);
  assert.deepEqual(await a.checkpoint(), await b.checkpoint());
  const lines = await exportedLines(a);
  assert.equal(lines.length, 20 * 23 + 2);
  assert.equal((await verifyExport(bytesOf(lines), { key: b.verifierKey })).verdict, "accepted");
});

test("any range of leaves comes back whole, however they were batched", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  const batches = [1, 512, 1, 1, 300, 512, 7];
  let size = 0;
  for (const count of batches) {
    await record(log, size, count);
    size += count;
  }
  for (let n = 0; n < 200; n++) await log.record(event(size++));
  const edges = [0, 1, 2, 511, 512, 513, 514, 515, 814, 815, 1_326, 1_327, 1_333, 1_334, 1_335, 1_400, size - 1, size];
  for (const start of edges) {
    for (const end of edges.filter((edge) => edge >= start)) {
      const { leaves } = await log.leaves(start, end);
      assert.deepEqual(
        leaves.map((leaf) => parseLeaf(leaf)?.event.data?.n),
        Array.from({ length: end - start }, (_, n) => start + n),
        `${start} to ${end}`,
      );
    }
  }
});

test("the database holds neither an event nor the signing key", async (t) => {
  const { store, path } = await openTestStore(t);
  const random = { bytes: (length: number) => new Uint8Array(length).fill(0x5a) };
  const log = await openAuditLog({ store, clock: systemClock, random, log: silentLog, origin: "o" });
  await log.record(event(0, { principal: 'Workload::"planted-principal"' }));
  const bytes = Buffer.concat(["", "-wal", "-shm"].map((end) => readFileSync(path + end)));
  assert.ok(bytes.includes("audit-entries"), "the search looks at the database");
  assert.equal(bytes.includes("planted-principal"), false);
  assert.equal(bytes.includes(Buffer.alloc(32, 0x5a)), false);
});

test("list finds by every field, newest first, and tells where to go on", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  await record(log, 0, 600);
  const root = "ab".repeat(32);
  await log.record(event(600, { action: "model.publish", resource: 'Model::"m@1"', modelRoot: root }));
  await log.record(event(601, { outcome: "refused", principal: 'Admin::"x"' }));
  await log.record(event(602, { action: "key.release", resource: 'Model::"m@2"', modelRoot: root, reason: ["p1"] }));
  const found = async (query: object) => (await log.list(query)).entries.map((entry) => entry.index);
  assert.deepEqual(await found({ model: "m@1" }), [600]);
  assert.deepEqual(await found({ model: root }), [602, 600]);
  assert.deepEqual(await found({ outcome: "refused" }), [601]);
  assert.deepEqual(await found({ principal: 'Admin::"x"', outcome: "allowed" }), []);
  assert.deepEqual(await found({ action: "model.publish" }), [600]);
  const first = await log.list({ limit: 2 });
  assert.deepEqual([first.entries.map((entry) => entry.index), first.next], [[602, 601], 601]);
  const rest = await log.list({ before: 2 });
  assert.deepEqual([rest.entries.map((entry) => entry.index), rest.next], [[1, 0], undefined]);
  let [seen, before]: [number, number | undefined] = [0, undefined];
  do {
    const page = await log.list({ limit: 100, ...(before === undefined ? {} : { before }) });
    seen += page.entries.length;
    before = page.next;
  } while (before !== undefined);
  assert.equal(seen, 603);
});

/** Changes the database file behind the log's back, as somebody who can write to it. */
function tamper(path: string, ...statements: string[]): void {
  const db = new DatabaseSync(path);
  for (const statement of statements) db.exec(statement);
  db.close();
}

const damages: readonly (readonly [string, string])[] = [
  ["a row of entries is deleted", "DELETE FROM records WHERE tbl = 'audit-entries' AND id LIKE '%3'"],
  ["the last row of entries is deleted", "DELETE FROM records WHERE tbl = 'audit-entries' AND id LIKE '%39'"],
  [
    "two rows of entries are swapped",
    `UPDATE records SET value = (SELECT value FROM records AS o WHERE o.tbl = 'audit-entries' AND o.id =
       CASE WHEN records.id LIKE '%10' THEN '0000000000000011' ELSE '0000000000000010' END)
     WHERE tbl = 'audit-entries' AND (id LIKE '%10' OR id LIKE '%11')`,
  ],
  [
    "a row of entries gets another index",
    "UPDATE records SET id = '0000000000000040' WHERE tbl = 'audit-entries' AND id LIKE '%39'",
  ],
  [
    "a row of entries is another's",
    "UPDATE records SET value = zeroblob(200) WHERE tbl = 'audit-entries' AND id LIKE '%7'",
  ],
];

for (const [name, statement] of damages) {
  test(`found by reading: ${name}`, async (t) => {
    const { store, path } = await openTestStore(t);
    const log = await openTestLog(store);
    for (let n = 0; n < 40; n++) await log.record(event(n));
    tamper(path, statement);
    await assert.rejects(exportedLines(log), (error: ModelkeepError) =>
      ["AUDIT_TAMPERED", "STORE_TAMPERED"].includes(error.code),
    );
  });
}

test("a log whose head, tiles or key are gone takes no event and does not begin anew", async (t) => {
  for (const table of ["audit-head", "audit-tiles"]) {
    const { store, path } = await openTestStore(t);
    const log = await openTestLog(store);
    await record(log, 0, 10);
    tamper(path, `DELETE FROM records WHERE tbl = '${table}'`);
    await assert.rejects(openTestLog(store), failsWith("AUDIT_TAMPERED"));
    if (table === "audit-head") await assert.rejects(log.record(event(11)), failsWith("AUDIT_TAMPERED"));
  }
  const { store, path } = await openTestStore(t);
  await record(await openTestLog(store), 0, 10);
  tamper(path, "DELETE FROM records WHERE tbl = 'audit-key'");
  await assert.rejects(openTestLog(store), failsWith("AUDIT_TAMPERED"));
});

test("a database that is rolled back as a whole is found by the process that knew more, and by an older checkpoint", async (t) => {
  const { store, path } = await openTestStore(t);
  const log = await openTestLog(store);
  await record(log, 0, 10);
  const copy = `${temporaryFolder(t)}/old.db`;
  tamper(path, `VACUUM INTO '${copy}'`);
  await record(log, 10, 5);
  const { note } = await log.checkpoint();
  tamper(path, "DELETE FROM records", `ATTACH '${copy}' AS old`, "INSERT INTO records SELECT * FROM old.records");
  await assert.rejects(log.record(event(15)), failsWith("AUDIT_TAMPERED"));

  const reopened = await openTestLog(store);
  const cut = await verifyExport(bytesOf(await exportedLines(reopened)), { key: log.verifierKey, since: [note] });
  assert.deepEqual([cut.verdict, failedRules(cut)], ["refused", ["since"]]);
  await record(reopened, 100, 5);
  const forked = await verifyExport(bytesOf(await exportedLines(reopened)), { key: log.verifierKey, since: [note] });
  assert.deepEqual([forked.verdict, failedRules(forked)], ["refused", ["since"]]);
  await record(reopened, 200, 5);
  const grown = await verifyExport(bytesOf(await exportedLines(reopened)), { key: log.verifierKey, since: [note] });
  assert.deepEqual([grown.verdict, failedRules(grown)], ["refused", ["since"]]);
});

function failedRules(verdict: Awaited<ReturnType<typeof verifyExport>>): string[] {
  return verdict.rules.filter(({ result }) => result === "failed").map(({ id }) => id);
}
