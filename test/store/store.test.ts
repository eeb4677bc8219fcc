/** One suite, two engines: what a store of records promises, and what somebody with the database cannot do unnoticed. */
import assert from "node:assert/strict";
import { after, before, describe, type TestContext, test } from "node:test";
import fc from "fast-check";
import { utf8 } from "../../src/base/index.ts";
import { type RecordStore, STORE_LIMITS } from "../../src/store/index.ts";
import { code, type Engine, Engines, failsWith, open, POSTGRES_MISSING, rootKey } from "./support.ts";

const engines = new Engines();
before(() => engines.start());
after(() => engines.stop());

for (const name of ["SQLite", "PostgreSQL"] as const) {
  describe(name, () => {
    const on = (title: string, body: (engine: Engine, t: TestContext) => Promise<void>) =>
      test(`${name}: ${title}`, async (t) => {
        const engine = name === "SQLite" ? engines.sqlite() : engines.postgres();
        if (!engine) return t.skip(POSTGRES_MISSING);
        await body(engine, t);
      });
    contract(on);
    tampering(on);
  });
}

type On = (title: string, body: (engine: Engine, t: TestContext) => Promise<void>) => void;

async function opened(
  engine: Engine,
  t: TestContext,
  url = engine.fresh(),
): Promise<{ store: RecordStore; url: string }> {
  const store = await open(url);
  t.after(() => store.close());
  return { store, url };
}

const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString("utf8");

function contract(on: On): void {
  on("a record comes back as it was written, with the version that counts the writes", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    assert.equal(await store.get("things", "a"), undefined);
    assert.equal(await store.put("things", "a", utf8("one")), 1);
    assert.equal(await store.put("things", "a", utf8("two")), 2);
    await store.put("things", "empty", new Uint8Array(0));
    const again = (await opened(engine, t, url)).store;
    const record = await again.get("things", "a");
    assert.deepEqual([text(record?.value), record?.version], ["two", 2]);
    assert.equal((await again.get("things", "empty"))?.value.length, 0);
    assert.equal(await again.get("others", "a"), undefined);
    assert.deepEqual([await again.delete("things", "a"), await again.delete("things", "a")], [true, false]);
    assert.equal(await store.get("things", "a"), undefined);
  });

  on("a condition holds a write back, and changes nothing", async (engine, t) => {
    const { store } = await opened(engine, t);
    await assert.rejects(store.put("t", "a", utf8("x"), { ifVersion: 1 }), failsWith("VERSION_CONFLICT"));
    await store.put("t", "a", utf8("x"), { ifVersion: 0 });
    await assert.rejects(store.put("t", "a", utf8("y"), { ifVersion: 0 }), failsWith("VERSION_CONFLICT"));
    await assert.rejects(store.put("t", "a", utf8("y"), { ifVersion: 2 }), failsWith("VERSION_CONFLICT"));
    assert.equal(text((await store.get("t", "a"))?.value), "x");
    assert.equal(await store.put("t", "a", utf8("y"), { ifVersion: 1 }), 2);
  });

  on("a transaction that swallows an error of the database is not taken for done", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    engine.tamper(
      url,
      engine.name === "PostgreSQL"
        ? "ALTER TABLE records ADD CONSTRAINT no_bad CHECK (id <> 'bad')"
        : "CREATE TRIGGER no_bad BEFORE INSERT ON records WHEN NEW.id = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    );
    const swallowing = store.transaction(async (tx) => {
      await tx.put("t", "good", utf8("x"));
      await tx.put("t", "bad", utf8("x")).catch(() => undefined);
      await tx.put("t", "later", utf8("x")).catch(() => undefined);
    });
    await assert.rejects(swallowing, failsWith("STORE_UNREACHABLE"));
    assert.equal((await store.list("t")).records.length, 0);
    assert.equal(await store.put("t", "good", utf8("x")), 1);
  });

  on("a closed store says so, and may be closed twice", async (engine) => {
    const store = await open(engine.fresh());
    await store.put("t", "a", utf8("x"));
    await store.close();
    await store.close();
    for (const use of [store.get("t", "a"), store.put("t", "a", utf8("y")), store.list("t"), store.ping()])
      await assert.rejects(use, failsWith("STORE_UNREACHABLE"));
  });

  on("of many who make the same record, one does", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    const other = (await opened(engine, t, url)).store;
    const tries = Array.from({ length: 20 }, (_, n) =>
      (n % 2 ? store : other).put("t", "once", utf8(String(n)), { ifVersion: 0 }).catch(code),
    );
    const results = await Promise.all(tries);
    assert.equal(results.filter((result) => result === 1).length, 1);
    assert.ok(
      results.every((result) => result === 1 || result === "VERSION_CONFLICT"),
      String(results),
    );
  });

  on("a transaction is all or nothing, and sees its own writes before others do", async (engine, t) => {
    const { store } = await opened(engine, t);
    const failed = store.transaction(async (tx) => {
      await tx.put("t", "a", utf8("1"));
      await tx.put("t", "b", utf8("2"));
      assert.equal(text((await tx.get("t", "a"))?.value), "1");
      assert.equal((await tx.list("t")).records.length, 2);
      assert.equal(await store.get("t", "a"), undefined, "a read outside sees what is not committed");
      throw new Error("no");
    });
    await assert.rejects(failed, /^Error: no$/);
    assert.equal((await store.list("t")).records.length, 0);
  });

  on("counters of many writers on two stores lose no step", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    const other = (await opened(engine, t, url)).store;
    const increment = (on: RecordStore) =>
      on.transaction(async (tx) => {
        const before = Number(text((await tx.get("t", "n"))?.value) ?? "0");
        await tx.put("t", "n", utf8(String(before + 1)));
      });
    await Promise.all(Array.from({ length: 60 }, (_, n) => increment(n % 2 ? store : other)));
    assert.equal(text((await store.get("t", "n"))?.value), "60");
  });

  on("write skew does not happen: two cannot both go when one must stay", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    const other = (await opened(engine, t, url)).store;
    await store.put("t", "a", utf8("on duty"));
    await store.put("t", "b", utf8("on duty"));
    const leave = (on: RecordStore, id: string) =>
      on.transaction(async (tx) => {
        const both = (await tx.list("t")).records.filter(({ value }) => text(value) === "on duty");
        await new Promise((resolve) => setImmediate(resolve));
        if (both.length > 1) await tx.put("t", id, utf8("gone"));
      });
    await Promise.all([leave(store, "a"), leave(other, "b")]);
    const left = (await store.list("t")).records.filter(({ value }) => text(value) === "on duty");
    assert.equal(left.length, 1);
  });

  on("list is in the order of UTF-8 bytes, whatever the ids", async (engine, t) => {
    const { store } = await opened(engine, t);
    const ids = [
      "a",
      "B",
      "b",
      "ä",
      "z",
      "aa",
      "a/b",
      "a-b",
      "Z",
      "\u{fffd}",
      "\u{1f600}",
      "\u{e000}",
      "a%",
      "a_b",
      "0",
    ];
    for (const id of ids) await store.put("t", id, utf8(id));
    const listed = (await store.list("t")).records.map(({ id }) => id);
    assert.deepEqual(
      listed,
      [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    );
  });

  on("prefix and pages bring every record once", async (engine, t) => {
    const { store } = await opened(engine, t);
    const id = fc.stringMatching(/^[ab%_\u{e9}\u{1f600}]{1,4}$/u);
    const ids = [...new Set(fc.sample(id, { numRuns: 80, seed: 7 }))];
    await store.transaction(async (tx) => {
      for (const one of ids) await tx.put("t", one, utf8(one));
    });
    for (const prefix of ["", "a", "%", "_", "a%", "\u{1f600}", "zz"]) {
      const wanted = ids
        .filter((one) => one.startsWith(prefix))
        .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      for (const limit of [1, 3, 1_000]) {
        const found: string[] = [];
        let after: string | undefined;
        do {
          const page = await store.list("t", { prefix, limit, ...(after === undefined ? {} : { after }) });
          assert.ok(page.records.length <= limit);
          found.push(...page.records.map((record) => record.id));
          after = page.next;
        } while (after !== undefined);
        assert.deepEqual(found, wanted, `prefix ${prefix}, ${limit} a page`);
      }
    }
  });

  on("messages reach every store that listens, and end with the subscription", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    // One process owns an SQLite file: there the replica is the store itself.
    const other = engine.name === "SQLite" ? store : (await opened(engine, t, url)).store;
    const heard: string[] = [];
    const hear = (who: string) => (message: string) => void heard.push(`${who} ${message}`);
    const ends = await Promise.all([
      store.subscribe("news", hear("a"), () => {}),
      other.subscribe("news", hear("b"), () => {}),
      other.subscribe("other", hear("c"), () => {}),
    ]);
    await store.notify("news", "1");
    await until(() => heard.length === 2);
    ends[0]();
    await other.notify("news", "2");
    await store.notify("other", "3");
    await until(() => heard.length === 4);
    assert.deepEqual(heard.sort(), ["a 1", "b 1", "b 2", "c 3"]);
    await assert.rejects(store.notify("news", "x".repeat(STORE_LIMITS.messageBytes + 1)), RangeError);
  });

  on("limits and names are held before the database is asked", async (engine, t) => {
    const { store } = await opened(engine, t);
    const value = utf8("x");
    await assert.rejects(store.put("t", "", value), RangeError);
    await assert.rejects(store.put("t", "a\0b", value), RangeError);
    await assert.rejects(store.put("t", "x".repeat(STORE_LIMITS.idBytes + 1), value), RangeError);
    await assert.rejects(store.put("t", "a", new Uint8Array(STORE_LIMITS.valueBytes + 1)), RangeError);
    for (const table of ["barrier", "T", "", "a b", "x'; --", "x".repeat(STORE_LIMITS.tableCharacters + 1)]) {
      await assert.rejects(store.put(table, "a", value), RangeError);
      await assert.rejects(store.get(table, "data-key"), RangeError);
    }
    await assert.rejects(store.put("t", "\ud800", value), RangeError);
    await assert.rejects(store.put("t", "a\u{10ffff}", value), RangeError);
    for (const limit of [0, -1, 1.5, Number.NaN]) await assert.rejects(store.list("t", { limit }), RangeError);
    await assert.rejects(store.list("t", { prefix: "a\0" }), failsWith("INVALID_INPUT"));
    await assert.rejects(store.list("t", { after: "\udc00" }), failsWith("INVALID_INPUT"));
    const longest = "x".repeat(STORE_LIMITS.idBytes);
    await store.put("t", longest, new Uint8Array(1024 * 1024).fill(3));
    assert.equal((await store.get("t", longest))?.value.length, 1024 * 1024);
  });
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error("it did not happen within 5 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function tampering(on: On): void {
  on("another root key opens nothing, and does not make a new data key", async (engine) => {
    const url = engine.fresh();
    const store = await open(url);
    await store.put("t", "a", utf8("kept"));
    await store.close();
    await assert.rejects(open(url, rootKey(8)), failsWith("STORE_TAMPERED"));
    const again = await open(url);
    assert.equal(text((await again.get("t", "a"))?.value), "kept");
    await again.close();
  });

  on("a flipped bit anywhere in a value is found", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    await store.put("t", "a", utf8("forty-two"));
    const { value } = engine.stored(url, "t", "a");
    for (let at = 0; at < value.length; at++) {
      const flipped = Uint8Array.from(value, (byte, i) => (i === at ? byte ^ (1 << (at % 8)) : byte));
      engine.tamper(url, `UPDATE records SET value = ${engine.blob(flipped)} WHERE tbl = 't' AND id = 'a'`);
      await assert.rejects(store.get("t", "a"), failsWith("STORE_TAMPERED"), `byte ${at}`);
    }
    for (const length of [0, 1, 12, 28, value.length - 1]) {
      engine.tamper(
        url,
        `UPDATE records SET value = ${engine.blob(value.slice(0, length))} WHERE tbl = 't' AND id = 'a'`,
      );
      await assert.rejects(store.list("t"), failsWith("STORE_TAMPERED"), `${length} bytes`);
    }
  });

  on("values moved to another row, table or version are found", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    await store.put("t", "a", utf8("of a"));
    const old = engine.stored(url, "t", "a");
    await store.put("t", "a", utf8("of a, later"));
    await store.put("t", "b", utf8("of b"));
    await store.put("u", "a", utf8("of u"));
    const [a, b, u] = [
      ["t", "a"],
      ["t", "b"],
      ["u", "a"],
    ].map(([table, id]) => engine.stored(url, table ?? "", id ?? ""));
    const set = (table: string, id: string, from: typeof old | undefined) =>
      engine.tamper(
        url,
        `UPDATE records SET value = ${engine.blob(from?.value ?? new Uint8Array(0))} WHERE tbl = '${table}' AND id = '${id}'`,
      );
    set("t", "a", b);
    set("t", "b", a);
    await assert.rejects(store.get("t", "a"), failsWith("STORE_TAMPERED"));
    await assert.rejects(store.get("t", "b"), failsWith("STORE_TAMPERED"));
    set("t", "a", u);
    await assert.rejects(store.get("t", "a"), failsWith("STORE_TAMPERED"));
    set("t", "a", old);
    await assert.rejects(store.get("t", "a"), failsWith("STORE_TAMPERED"), "an older value under the newer version");
    set("t", "a", a);
    assert.equal(text((await store.get("t", "a"))?.value), "of a, later");
    engine.tamper(url, "UPDATE records SET version = 9 WHERE tbl = 't' AND id = 'a'");
    await assert.rejects(store.get("t", "a"), failsWith("STORE_TAMPERED"));
    engine.tamper(url, "UPDATE records SET id = 'z' WHERE tbl = 'u' AND id = 'a'");
    await assert.rejects(store.list("u"), failsWith("STORE_TAMPERED"));
  });

  on("a database of a newer version is left alone", async (engine) => {
    const url = engine.fresh();
    await (await open(url)).close();
    engine.tamper(
      url,
      engine.name === "SQLite" ? "PRAGMA user_version = 99" : "UPDATE schema_version SET version = 99",
    );
    await assert.rejects(open(url), failsWith("STORE_TOO_NEW"));
    await assert.rejects(open(url), failsWith("STORE_TOO_NEW"));
  });

  on("no byte of the database holds a value, also none that was overwritten or deleted", async (engine, t) => {
    const { store, url } = await opened(engine, t);
    const planted = (n: number) => `sk-planted-${n}-0123456789abcdef`;
    for (let n = 0; n < 50; n++) await store.put("secrets", `s${n % 20}`, utf8(planted(n)));
    for (let n = 0; n < 10; n++) await store.delete("secrets", `s${n}`);
    const large = utf8(`${planted(99)}${"sk-planted-large ".repeat(20_000)}`);
    await store.put("secrets", "large", large);
    const bytes = engine.everything(url);
    assert.ok(bytes.includes("secrets"), "the search looks at the database");
    for (const needle of [
      "sk-planted",
      Buffer.from("sk-planted").toString("hex"),
      Buffer.from("sk-planted-").toString("base64").slice(0, 12),
    ])
      assert.equal(
        bytes.includes(needle),
        false,
        needle.length > 11 ? "an encoded value is there" : "a value is there",
      );
    assert.equal(bytes.includes(Buffer.alloc(32, 7)), false, "the root key is there");
  });
}
