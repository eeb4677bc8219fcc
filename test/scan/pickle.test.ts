/** Pickles: what hides a call is found, what frameworks write is not flagged, and nothing runs away. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { evilPickle, latin1, rulesOf, safePickle, scanBytes } from "./support.ts";

const short = (text: string): string => `\x8c${String.fromCharCode(text.length)}${text}`;

const MALICIOUS: Readonly<Record<string, string>> = {
  "GLOBAL and REDUCE": "\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.",
  "a name in unicode escapes": "V\\u006fs\nVsyste\\u006d\n\x93(Vid\ntR.",
  "a name in octal and hex escapes": "S'\\x6f\\163'\nS'system'\n\x93(Vid\ntR.",
  "STACK_GLOBAL through the memo": `\x80\x04${short("os")}\x940${short("system")}\x940h\x00h\x01\x93${short("id")}\x85R.`,
  "a module that is no text": `\x80\x04ctorch\nFloatStorage\n${short("x")}\x93.`,
  INST: "(S'id'\nios\nsystem\n.",
  OBJ: "(cos\nsystem\nS'id'\no.",
  NEWOBJ: "\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idt\x81.",
  NEWOBJ_EX: `\x80\x04${short("os")}${short("system")}\x93)}\x92.`,
  "BUILD on a module": `\x80\x04ctorch\nTensor\n}${short("x")}K\x01sb.`,
  "SETITEM on an import": `\x80\x04ctorch\nTensor\n${short("x")}K\x01s.`,
  "a call of the result of a call": "\x80\x02cbuiltins\ngetattr\n)R)R.",
  "a call of text": "X\x02\x00\x00\x00os)R.",
  "Python 2 names": "c__builtin__\neval\n(S'1'\ntR.",
  "an allowed name with a path behind it": `\x80\x04${short("torch._utils")}${short("_rebuild_tensor.__globals__")}\x93.`,
  "a second pickle": `${safePickle.toString("latin1")}${evilPickle.toString("latin1")}`,
  "a second pickle after rubbish": `${safePickle.toString("latin1")}rubbish\xff\xfe\x80\x02cos\nsystem\n)R.`,
  "a break after the call": "\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R\xff",
  "a break before a hidden pickle": "\x80\x02\xff\xff\x80\x02cos\nsystem\n)R.",
  "a long frame length": `\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f${short("os")}${short("system")}\x93)R.`,
  "numpy's own loader": "\x80\x02cnumpy\nload\n(X\x01\x00\x00\x00xtR.",
  "a program of a library nobody listed": "\x80\x02csome.tools\nrun_command\n)R.",
};

test("pickles that act are malicious", async (t) => {
  for (const [name, text] of Object.entries(MALICIOUS)) {
    await t.test(name, async () => assert.equal((await scanBytes(latin1(text))).verdict, "malicious"));
  }
});

const hex = Buffer.from(latin1("\x80\x04cbuiltins\nprint\n)R.")).toString("hex");

const SUSPICIOUS: Readonly<Record<string, string>> = {
  "a class that nobody knows": "\x80\x02cmylib.models\nNet\n)\x81.",
  "an extension code": "\x80\x02\x82\x01.",
  "a pickle in hex": `\x80\x04${short(hex)}.`,
  "a pickle in base64": `\x80\x04${short(Buffer.from(hex, "hex").toString("base64"))}.`,
  "a pickle in bytes": `\x80\x04C\x16${"\x80\x04cbuiltins\nprint\n)R."}.`,
};

test("pickles that need a look are suspicious", async (t) => {
  for (const [name, text] of Object.entries(SUSPICIOUS)) {
    await t.test(name, async () => assert.equal((await scanBytes(latin1(text))).verdict, "suspicious"));
  }
});

test("what frameworks write is clean", async (t) => {
  const clean: Readonly<Record<string, string>> = {
    "a dictionary": safePickle.toString("latin1"),
    "an ordered dictionary": "\x80\x02ccollections\nOrderedDict\n)R.",
    "a tensor": "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x01\x00\x00\x00actorch\nFloatStorage\ntQK\x00tR.",
    "an array": "\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R.",
    "protocol 0": "(lp0\nI1\naI2\na.",
    "two in a row": `${safePickle.toString("latin1")}${safePickle.toString("latin1")}\n`,
  };
  for (const [name, text] of Object.entries(clean)) {
    await t.test(name, async () => {
      const report = await scanBytes(latin1(text));
      assert.equal(report.verdict, "clean", JSON.stringify(report.findings));
    });
  }
});

test("a pickle that breaks is malformed, one with a tail too", async () => {
  for (const text of ["\x80\x02}q", "\x80\x02R.", "\x80\x02h\x07.", "\x80\x02K\x01.\xde\xad\xbe\xef"]) {
    assert.equal((await scanBytes(latin1(text))).verdict, "malformed", JSON.stringify(text));
  }
});

test("lengths that the file does not hold cost nothing", async () => {
  const before = process.memoryUsage.rss();
  const started = performance.now();
  for (const text of [
    "\x80\x02X\xff\xff\xff\x7f",
    "\x80\x04\x8e\xff\xff\xff\xff\xff\xff\x1f\x00",
    "\x80\x02\x8b\xff\xff\xff\x7f",
    "T\xff\xff\xff\xff",
  ]) {
    assert.notEqual((await scanBytes(latin1(text))).verdict, "clean");
  }
  assert.ok(performance.now() - started < 1000);
  assert.ok(process.memoryUsage.rss() - before < 200e6);
});

test("millions of marks and memos end at a limit", async () => {
  const marks = Buffer.concat([latin1("\x80\x02"), Buffer.alloc(6_000_000, "(")]);
  assert.deepEqual(rulesOf(await scanBytes(marks)), ["pickle-limit"]);
  const values = Buffer.concat([latin1("\x80\x02"), Buffer.alloc(6_000_000, "N")]);
  assert.equal((await scanBytes(values)).verdict, "unscannable");
});

test("pickles inside pickles inside pickles end", async () => {
  let inner = latin1("\x80\x04cos\nsystem\n)R.");
  for (let depth = 0; depth < 20; depth++) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(inner.length);
    inner = Buffer.concat([latin1("\x80\x04B"), length, inner, latin1(".")]);
  }
  const report = await scanBytes(inner);
  assert.ok(report.findings.length <= 200);
});

test("any string survives as a name without being taken for an allowed one", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.stringMatching(/^[a-z_.]{1,20}$/),
      fc.stringMatching(/^[a-zA-Z_.]{1,20}$/),
      async (module, name) => {
        const report = await scanBytes(latin1(`\x80\x04${short(`zz_${module}`)}${short(name)}\x93)R.`));
        assert.ok(report.verdict === "suspicious" || report.verdict === "malicious");
      },
    ),
    { numRuns: 50 },
  );
});
