/** Strict JSON: what strangers send is parsed like JSON.parse does, or refused for a named reason. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ModelkeepError, parseJson, utf8 } from "../../src/base/index.ts";

const codeOf = (work: () => unknown) => {
  try {
    work();
    return "accepted";
  } catch (error) {
    return error instanceof ModelkeepError ? error.code : `crashed: ${error}`;
  }
};

test("agrees with JSON.parse on every value without duplicate or prototype keys", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 20 }), (value) => {
      const text = JSON.stringify(value);
      if (text.includes("__proto__")) return;
      assert.deepEqual(parseJson(text), JSON.parse(text));
      assert.deepEqual(parseJson(utf8(text)), JSON.parse(text));
    }),
  );
});

test("never crashes on any text or bytes, and never takes what JSON.parse refuses", () => {
  const pieces = fc.array(fc.constantFrom("{", "}", "[", "]", '"', ",", ":", "\\", "a", "1", "\\u0061", " ", "null"), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        pieces.map((parts) => parts.join("")),
      ),
      (text) => {
        const code = codeOf(() => parseJson(text));
        assert.match(code, /^(accepted|INVALID_JSON|LIMIT_EXCEEDED)$/);
        if (code === "accepted") JSON.parse(text);
      },
    ),
  );
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) =>
      assert.doesNotMatch(
        codeOf(() => parseJson(bytes)),
        /crashed/,
      ),
    ),
  );
});

test("duplicate keys are refused however they are spelled", () => {
  assert.equal(
    codeOf(() => parseJson('{"a":1,"b":{"a":2},"a":3}')),
    "INVALID_JSON",
  );
  assert.equal(
    codeOf(() => parseJson('{"a":1,"\\u0061":2}')),
    "INVALID_JSON",
  );
  assert.equal(
    codeOf(() => parseJson('{"a":{"a":1},"b":[{"a":1},{"a":2}]}')),
    "accepted",
  );
});

test("prototype keys, deep nesting, size, bad UTF-8 and trailing text are refused", () => {
  assert.equal(
    codeOf(() => parseJson('{"__proto__":{"x":1}}')),
    "INVALID_JSON",
  );
  assert.equal(
    codeOf(() => parseJson('{"\\u005f_proto__":{"x":1}}')),
    "INVALID_JSON",
  );
  assert.equal(
    codeOf(() => parseJson("[".repeat(65) + "]".repeat(65))),
    "LIMIT_EXCEEDED",
  );
  assert.equal(
    codeOf(() => parseJson("[".repeat(64) + "]".repeat(64))),
    "accepted",
  );
  assert.equal(
    codeOf(() => parseJson("[".repeat(1_000_000))),
    "LIMIT_EXCEEDED",
  );
  assert.equal(
    codeOf(() => parseJson('"12345"', { maxBytes: 6 })),
    "LIMIT_EXCEEDED",
  );
  assert.equal(
    codeOf(() => parseJson(new Uint8Array([0x22, 0xff, 0x22]))),
    "INVALID_JSON",
  );
  assert.equal(
    codeOf(() => parseJson("1 2")),
    "INVALID_JSON",
  );
});

test("many short values are refused by their number, wherever they are", () => {
  for (const text of ["[1,2,3,4]", '{"a":1,"b":2,"c":[]}', "[[],[],[]]", '[{},",,,,,",{}]']) {
    assert.equal(
      codeOf(() => parseJson(text, { maxValues: 3 })),
      "LIMIT_EXCEEDED",
      text,
    );
    assert.equal(
      codeOf(() => parseJson(text, { maxValues: 6 })),
      "accepted",
      text,
    );
  }
});
