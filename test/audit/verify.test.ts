/** An export proves itself offline: every way to change, cut, reorder, roll back or fork it is refused. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { type AuditVerdict, splitLines, type VerifyAuditOptions, verifyExport } from "../../src/audit/index.ts";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";
import { bytesOf, event, exportedLines, openTestLog, openTestStore, record } from "./support.ts";

interface Exported {
  readonly lines: string[];
  readonly key: string;
  readonly older: string;
  readonly note: string;
}

/** Sixty events, and the checkpoint after forty of them. */
async function exported(t: TestContext, first = 0): Promise<Exported> {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  await record(log, first, 40);
  const older = (await log.checkpoint()).note;
  await record(log, first + 40, 20);
  return { lines: await exportedLines(log), key: log.verifierKey, older, note: (await log.checkpoint()).note };
}

const verify = (lines: readonly string[], options: VerifyAuditOptions = {}) => verifyExport(bytesOf(lines), options);
const failed = ({ rules }: AuditVerdict) => rules.filter(({ result }) => result === "failed").map(({ id }) => id);

test("an honest export is accepted, with what was not checked named", async (t) => {
  const { lines, key, older } = await exported(t);
  const verdict = await verify(lines, { key, since: [older] });
  assert.deepEqual([verdict.verdict, verdict.entries, verdict.checkpoint?.size], ["accepted", 60, 60]);
  assert.ok(verdict.rules.every(({ result }) => result === "passed"));
  const bare = await verify(lines);
  assert.equal(bare.verdict, "accepted");
  assert.deepEqual(
    bare.rules.filter(({ result }) => result === "unchecked").map(({ id }) => id),
    ["key", "since"],
  );
});

test("changed, deleted, doubled, reordered and cut lines are refused", async (t) => {
  const { lines, key } = await exported(t);
  const at = (n: number) => lines[n] ?? "";
  const attacks: Record<string, string[]> = {
    "another outcome": lines.with(20, at(20).replace("allowed", "refused")),
    "another time": lines.with(20, at(20).replace(/"at":"\d{4}/, '"at":"1999')),
    "another index": lines.with(20, at(20).replace(/"index":\d+/, '"index":18')),
    "a space, the same JSON": lines.with(20, at(20).replace('{"at":', '{ "at":')),
    "other order of keys": lines.with(
      20,
      JSON.stringify({ ...JSON.parse(at(20)), at: JSON.parse(at(20)).at }).replace(
        /^\{(.*),"index":(\d+)\}$/,
        '{"index":$2,$1}',
      ),
    ),
    deleted: lines.toSpliced(20, 1),
    "deleted, with the size": lines.with(0, at(0).replace('"size":60', '"size":59')).toSpliced(20, 1),
    "the last deleted, with the size": lines.with(0, at(0).replace('"size":60', '"size":59')).toSpliced(60, 1),
    doubled: lines.toSpliced(20, 0, at(20)),
    swapped: lines.with(20, at(21)).with(21, at(20)),
    "no checkpoint": lines.slice(0, -1),
    "cut in half": lines.slice(0, 30),
    "only the first line": lines.slice(0, 1),
    "another line at the end": [...lines, at(60)],
    "an empty line": lines.toSpliced(20, 0, ""),
    "a checkpoint with another size": lines.with(61, at(61).replace("\\n60\\n", "\\n61\\n")),
    "no signature": lines.with(61, at(61).replace(/\\n\\n.*\\n"/, '\\n"')),
    "another member beside the checkpoint": lines.with(61, at(61).replace("{", '{"a":1,')),
  };
  for (const [name, attack] of Object.entries(attacks)) {
    assert.notDeepEqual(attack, lines, name);
    assert.equal((await verify(attack, { key })).verdict, "refused", name);
    assert.equal((await verify(attack)).verdict, "refused", `${name}, without the key`);
  }
});

test("no changed byte of an export is accepted", async (t) => {
  const { lines, key } = await exported(t);
  const whole = Buffer.from(`${lines.join("\n")}\n`);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const bytes = new Uint8Array(whole);
      bytes[at] = (bytes[at] ?? 0) ^ change;
      let verdict = "refused";
      try {
        verdict = (await verifyExport(splitLines(chunks(bytes, 1_000)), { key })).verdict;
      } catch (error) {
        assert.equal(error instanceof ModelkeepError && error.code, "AUDIT_EXPORT_INVALID");
      }
      // The last newline may be missing: nothing is in it.
      assert.ok(verdict === "refused" || at === whole.length - 1, `byte ${at}`);
    }),
    { numRuns: 400 },
  );
});

async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test("a log that a forger signed anew with another key is refused by who knows the key or an older checkpoint", async (t) => {
  const honest = await exported(t);
  const forged = await exported(t, 1_000);
  assert.equal((await verify(forged.lines)).verdict, "accepted", "alone it is a log of its own");
  assert.deepEqual(failed(await verify(forged.lines, { key: honest.key })), ["key", "signature", "root"]);
  assert.deepEqual(failed(await verify(forged.lines, { since: [honest.older] })), ["since"]);
  const dressed = forged.lines.with(0, honest.lines[0] ?? "");
  assert.ok(failed(await verify(dressed, { key: honest.key })).includes("signature"));
  const mixed = [...forged.lines.slice(0, -1), honest.lines.at(-1) ?? ""].with(0, honest.lines[0] ?? "");
  assert.deepEqual(failed(await verify(mixed, { key: honest.key })), ["root"]);
});

test("two checkpoints of one size with another root, a cut and a rewritten log are refused, though the log's own key signed", async (t) => {
  // The log's operator rewrites: the same key, other events.
  const { store } = await openTestStore(t);
  const { store: second } = await openTestStore(t);
  const log = await openTestLog(store);
  for (const id of ["origin", "seed"]) {
    const record = await store.get("audit-key", id);
    await second.put("audit-key", id, record?.value ?? new Uint8Array(0));
  }
  const twin = await openTestLog(second);
  assert.equal(twin.verifierKey, log.verifierKey);
  await record(log, 0, 10);
  await record(twin, 100, 10);
  const [mine, its] = [(await log.checkpoint()).note, (await twin.checkpoint()).note];
  const key = log.verifierKey;
  assert.deepEqual(failed(await verify(await exportedLines(log), { key, since: [mine] })), []);
  assert.deepEqual(failed(await verify(await exportedLines(log), { key, since: [its] })), ["since"]);
  await twin.record(event(7));
  assert.deepEqual(failed(await verify(await exportedLines(twin), { key, since: [mine] })), ["since"], "rewritten");
  const longer = (await twin.checkpoint()).note;
  assert.deepEqual(failed(await verify(await exportedLines(log), { key, since: [longer] })), ["since"], "cut");
  assert.deepEqual(failed(await verify(await exportedLines(twin), { key, since: [its, mine, longer] })), ["since"]);
});

test("what is no export, no key and no checkpoint is an error and not a verdict", async (t) => {
  const { lines, key } = await exported(t);
  const codeOf = (work: Promise<unknown>) => work.then(String, (error: ModelkeepError) => error.code);
  for (const text of [[], [""], ["{}"], ["not JSON"], ['{"format":"other","key":"","size":0}'], lines.slice(1)])
    assert.equal(await codeOf(verify(text)), "AUDIT_EXPORT_INVALID");
  assert.equal(await codeOf(verify(lines, { key: "x" })), "AUDIT_KEY_INVALID");
  assert.equal(await codeOf(verify(lines, { key, since: ["x"] })), "AUDIT_NOTE_INVALID");
  const damagedKey = lines.with(0, (lines[0] ?? "").replace('"key":"k', '"key":"K'));
  assert.deepEqual(failed(await verify(damagedKey)).sort(), ["key", "root", "signature"]);
});

test("a line without an end is bounded, and lines are cut the same whatever the chunks", async () => {
  const long = chunks(new Uint8Array(200_000).fill(0x61), 10_000);
  await assert.rejects(collect(splitLines(long)), (error: ModelkeepError) => error.code === "LIMIT_EXCEEDED");
  await fc.assert(
    fc.asyncProperty(fc.string(), fc.integer({ min: 1, max: 9 }), async (text, size) => {
      const bytes = utf8(text);
      const found = (await collect(splitLines(chunks(bytes, size)))).map((line) =>
        Buffer.from(line).toString("latin1"),
      );
      const wanted = Buffer.from(bytes).toString("latin1").split("\n");
      if (wanted.at(-1) === "") wanted.pop();
      assert.deepEqual(found, wanted);
    }),
  );
});

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
