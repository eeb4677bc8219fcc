/** Archives: every trick that lets a loader see what a scanner does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { evilPickle, latin1, rulesOf, safePickle, scanBytes, tar, zip } from "./support.ts";

const evil = Buffer.concat([latin1("\x80\x02"), evilPickle]);
const safe = { name: "m/data.pkl", data: safePickle };

test("a plain archive is clean, a poisoned member is found", async () => {
  assert.equal((await scanBytes(zip([safe]))).verdict, "clean");
  for (const deflate of [false, true]) {
    assert.equal((await scanBytes(zip([safe, { name: "m/x.bin", data: evil, deflate }]))).verdict, "malicious");
  }
});

test("raw storages of a PyTorch archive are numbers, elsewhere such bytes are unknown", async () => {
  const noise = latin1("\xee\x01\x02\x00\xff\xfe\x00\x1f");
  assert.equal((await scanBytes(zip([safe, { name: "m/data/0", data: noise }]))).verdict, "clean");
  assert.equal((await scanBytes(zip([safe, { name: "m/data/0", data: evil }]))).verdict, "malicious");
  assert.equal((await scanBytes(zip([safe, { name: "m/data/x", data: noise }]))).verdict, "unscannable");
  assert.equal((await scanBytes(zip([{ name: "m/data/0", data: noise }]))).verdict, "unscannable");
});

test("flags do not hide a member", async () => {
  for (const flags of [0x1, 0x41, 0x2001, 0xffff]) {
    const report = await scanBytes(zip([{ name: "m/data.pkl", data: evil, flags }]));
    assert.equal(report.verdict, "malicious", `flags ${flags}`);
  }
});

test("an encrypted member is unscannable", async () => {
  const noise = Buffer.from(Array.from({ length: 512 }, (_, index) => (index * 167 + 31) & 0xff));
  const report = await scanBytes(zip([{ name: "m/data.pkl", data: noise, flags: 1, crc: 123 }]));
  assert.equal(report.verdict, "unscannable");
  assert.ok(rulesOf(report).includes("zip-encrypted"));
});

test("a wrong checksum does not hide a member", async () => {
  const report = await scanBytes(zip([{ name: "m/data.pkl", data: evil, crc: 1 }]));
  assert.equal(report.verdict, "malicious");
  assert.ok(rulesOf(report).includes("zip-checksum"));
});

test("two names for one member are an attack", async () => {
  const report = await scanBytes(zip([{ ...safe, localName: "m/DATA.pkl" }]));
  assert.equal(report.verdict, "malicious");
  assert.deepEqual(rulesOf(report), ["zip-name-mismatch"]);
});

test("bytes before and behind the archive are looked at", async () => {
  const before = await scanBytes(Buffer.concat([evil, zip([safe])]));
  assert.equal(before.verdict, "malicious");
  assert.ok(rulesOf(before).includes("zip-prefix"));
  const behind = await scanBytes(Buffer.concat([zip([{ name: "a", data: evil }]), Buffer.alloc(100)]));
  assert.equal(behind.verdict, "malicious");
});

test("names that leave the folder", async () => {
  for (const name of ["../x", "a/../../x", "/etc/x", "C:\\x", "a\\..\\..\\x"]) {
    assert.deepEqual(
      rulesOf(await scanBytes(zip([{ name, data: Buffer.from("hello") }]))),
      ["archive-traversal"],
      name,
    );
  }
  assert.deepEqual(rulesOf(await scanBytes(tar([{ name: "../../x", data: Buffer.from("hi") }]))), [
    "archive-traversal",
  ]);
});

test("links in archives", async () => {
  assert.deepEqual(rulesOf(await scanBytes(zip([{ name: "l", data: Buffer.from("t"), mode: 0o120777 }]))), [
    "archive-link",
  ]);
  const outside = await scanBytes(tar([{ name: "l", type: "2", target: "/etc/passwd" }]));
  assert.equal(outside.verdict, "malicious");
});

test("two directory entries over the same bytes", async () => {
  const report = await scanBytes(zip([safe, { ...safe, headerOf: 0 }]));
  assert.ok(rulesOf(report).includes("zip-overlap"));
});

test("members that the directory does not name are found", async () => {
  const [first, hidden, last] = [safe, { name: "hidden", data: evil }, { name: "last", data: safePickle }];
  const whole = zip([first, hidden, last]);
  const named = zip([first, last]);
  const gap = zip([hidden]).indexOf("PK\x01\x02");
  const firstEnd = zip([first]).indexOf("PK\x01\x02");
  const directory = Buffer.from(named.subarray(named.indexOf("PK\x01\x02")));
  const second = directory.indexOf("PK\x01\x02", 4);
  directory.writeUInt32LE(firstEnd + gap, second + 42);
  const end = directory.length - 22;
  directory.writeUInt32LE(whole.indexOf("PK\x01\x02"), end + 16);
  const file = Buffer.concat([whole.subarray(0, whole.indexOf("PK\x01\x02")), directory]);
  assert.equal((await scanBytes(file)).verdict, "malicious");
});

test("a second directory for readers that trust the stated offset", async () => {
  const evilZip = zip([{ name: "m/data.pkl", data: evil, deflate: true }]);
  const safeZip = zip([{ name: "m/data.pkl", data: safePickle, deflate: true }]);
  const evilStart = evilZip.indexOf("PK\x01\x02");
  const file = Buffer.concat([evilZip.subarray(0, evilZip.length - 22), safeZip]);
  file.writeUInt32LE(evilStart, file.length - 6);
  const report = await scanBytes(file);
  assert.equal(report.verdict, "malicious");
  assert.ok(rulesOf(report).includes("zip-two-directories"));
});

test("sizes that only an extended tar header tells", async () => {
  const pax = Buffer.from("12 size=512\n");
  const file = tar([
    { name: "pax", type: "x", data: pax },
    { name: "a", data: Buffer.from("hello") },
  ]);
  assert.equal((await scanBytes(file)).verdict, "malformed");
});

test("thousands of names for the same bytes cost no more than one", async () => {
  const body = Buffer.alloc(8 * 2 ** 20, "\x80\x04N");
  const entries = [
    { name: "a", data: body },
    ...Array.from({ length: 5000 }, (_, n) => ({ name: `n${n}`, data: body, headerOf: 0, crc: 1 })),
  ];
  const started = performance.now();
  assert.ok(rulesOf(await scanBytes(zip(entries))).includes("zip-overlap"));
  assert.ok(performance.now() - started < 20_000);
});

test("beginnings of pickles without end stop at a limit", async () => {
  const started = performance.now();
  const many = Buffer.concat([latin1("\xee\x00"), Buffer.alloc(16 * 2 ** 20, latin1("\x80\x04NNNNNNNNNN"))]);
  assert.equal((await scanBytes(many)).verdict, "unscannable");
  assert.ok(performance.now() - started < 30_000);
});

test("archives inside archives, and not without end", async () => {
  const inside = zip([{ name: "inner.zip", data: zip([{ name: "x", data: evil }]) }]);
  assert.equal((await scanBytes(inside)).verdict, "malicious");
  assert.equal((await scanBytes(gzipSync(tar([{ name: "x", data: evil }])))).verdict, "malicious");
  let deep = zip([safe]);
  for (let depth = 0; depth < 20; depth++) deep = zip([{ name: "z", data: deep }]);
  assert.deepEqual(rulesOf(await scanBytes(deep)), ["archive-depth"]);
});

test("bombs are refused in bounded time and memory", async () => {
  const before = process.memoryUsage.rss();
  const started = performance.now();
  const zeros = zip([{ name: "bomb", data: Buffer.alloc(300 * 2 ** 20), deflate: true }]);
  assert.equal((await scanBytes(zeros)).verdict, "unscannable");
  const lying = zip([{ name: "bomb", data: Buffer.alloc(300 * 2 ** 20), deflate: true, bytes: 10 }]);
  assert.equal((await scanBytes(lying)).verdict, "unscannable");
  assert.equal((await scanBytes(gzipSync(Buffer.alloc(300 * 2 ** 20)))).verdict, "unscannable");
  assert.ok(performance.now() - started < 60_000);
  assert.ok(process.memoryUsage.rss() - before < 1500e6);
});

test("archives that break are malformed, and still searched", async () => {
  const whole = zip([{ name: "x", data: evil }]);
  const cut = whole.subarray(0, whole.length - 30);
  const report = await scanBytes(cut);
  assert.equal(report.verdict, "malicious");
  assert.ok(rulesOf(report).includes("archive-broken"));
  const empty = await scanBytes(latin1("PK\x03\x04"));
  assert.equal(empty.verdict, "malformed");
});

test("containers that cannot be opened are never clean", async () => {
  for (const magic of [
    "7z\xbc\xaf\x27\x1c",
    "Rar!\x1a\x07\x00",
    "\xfd7zXZ\x00",
    "BZh9",
    "\x28\xb5\x2f\xfd",
    "\x04\x22\x4d\x18",
  ]) {
    assert.equal((await scanBytes(latin1(`${magic}\x00\x00\x00\x00`))).verdict, "unscannable", JSON.stringify(magic));
  }
});
