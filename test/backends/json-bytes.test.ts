/** Values are cut out of JSON as JSON.parse would read them, nothing of them is left in the text, and nothing crashes it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { takeMember, takeMembers } from "../../src/backends/json-bytes.ts";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";

const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString("utf8");
const name = fc.string({ unit: "binary", maxLength: 8 }).filter((one) => one !== "__proto__" && one.isWellFormed());
const value = fc.string({ unit: "binary", maxLength: 40 }).filter((one) => one.isWellFormed());
/** As writers differ: with spaces, and with every character escaped. */
const written = (document: unknown, how: "plain" | "spaced" | "escaped"): Uint8Array => {
  const plain = JSON.stringify(document, undefined, how === "spaced" ? 2 : undefined);
  const escaped = plain.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return utf8(how === "escaped" ? escaped : plain);
};
const how = fc.constantFrom("plain" as const, "spaced" as const, "escaped" as const);

function codeOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    assert.ok(error instanceof ModelkeepError, String(error));
    return error.code;
  }
}

test("a string at any depth comes as JSON.parse reads it, and the rest of the document stays what it was", () => {
  const around = fc.dictionary(name, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 });
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 4 }), value, around, how, (path, secret, others, style) => {
      const build = (at: number, leaf: unknown): unknown =>
        at === path.length ? leaf : { ...others, [path[at] ?? ""]: build(at + 1, leaf) };
      const bytes = written(build(0, secret), style);
      assert.equal(text(takeMember(bytes, path)), secret);
      const rest = JSON.parse(text(bytes) ?? "");
      const blot = path.reduce((inner, part) => inner[part], rest);
      assert.match(blot, /^\**$/);
      assert.deepEqual(rest, JSON.parse(JSON.stringify(build(0, blot))));
    }),
  );
});

test("every member comes once, whatever it holds; strings are text, all else is JSON", () => {
  fc.assert(
    fc.property(fc.dictionary(name, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 6 }), how, (document, style) => {
      const found = takeMembers(written(document, style), 100);
      const expected = Object.entries(JSON.parse(JSON.stringify(document))).filter(([, one]) => one !== null);
      assert.deepEqual(found.map((one) => one.name).sort(), expected.map(([key]) => key).sort());
      for (const [key, one] of expected) {
        const got = text(found.find((member) => member.name === key)?.value) ?? "";
        assert.deepEqual(typeof one === "string" ? got : JSON.parse(got), one);
      }
    }),
  );
});

test("a document that is cut, or is none, is told; nothing of it is left in the buffer then", () => {
  fc.assert(
    fc.property(value, fc.nat(), how, (secret, at, style) => {
      const whole = written({ a: { key: `sk-canary-${secret}` } }, style);
      const cut = whole.slice(0, at % whole.length);
      assert.equal(
        codeOf(() => takeMember(cut, ["a", "key"])),
        "KMS_ANSWER_INVALID",
      );
      assert.ok(!Buffer.from(cut).includes("sk-canary"));
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      assert.ok(["none", "KMS_ANSWER_INVALID"].includes(codeOf(() => takeMember(bytes, ["a"]))));
    }),
  );
});

test("a name twice, a lone surrogate, an odd escape, a control character, too deep a document, too many members", () => {
  for (const odd of [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":"\\ud83d"}',
    '{"a":"\\udca9"}',
    '{"a":"\\ud83dx"}',
    '{"a":"\\x"}',
    '{"a":"\\u00g0"}',
    '{"a":"\\u00:0"}',
    '{"a":"\n"}',
    '{"a":tru}',
    '{"a":"x"}}',
    '{"a":"x",}',
    "{a:1}",
    `${'{"a":'.repeat(40)}1${"}".repeat(40)}`,
  ])
    assert.equal(
      codeOf(() => takeMember(utf8(odd), ["a"])),
      "KMS_ANSWER_INVALID",
      odd,
    );
  assert.equal(takeMember(utf8('{"a":null}'), ["a"]), undefined);
  assert.equal(takeMember(utf8('{"b":{"a":1}}'), ["a"]), undefined, "of another depth");
  assert.equal(
    codeOf(() => takeMembers(utf8('{"a":1,"b":2}'), 1)),
    "KMS_ANSWER_INVALID",
  );
});
