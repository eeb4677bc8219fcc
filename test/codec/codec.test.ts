/** Canonical JSON, DSSE and PEM: the values that the specifications give, and what must not get through. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromUtf8, toBase64, utf8 } from "../../src/base/index.ts";
import { dssePae, dsseToJson, jcs, parseDsse, parsePem, toPem } from "../../src/codec/index.ts";
import { codeOf } from "../sealing/support.ts";

const canonical = (value: unknown) => fromUtf8(jcs(value));

test("canonical JSON as RFC 8785 shows it", () => {
  const sample = {
    numbers: JSON.parse("[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]"),
    string: "\u20ac$\u000f\nA'\u0042\u0022\u005c\\\"/",
    literals: [null, true, false],
  };
  assert.equal(
    canonical(sample),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
  const order = { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\u{1f600}": 5, "\u0080": 6, "\u00f6": 7 };
  const found = [...canonical(order).matchAll(/:(\d)/g)].map(([, digit]) => digit);
  assert.equal(found.join(""), "2467153", "by UTF-16 code units");
  assert.equal(canonical(-0), "0");
});

test("canonical JSON means what the value means, whatever the order it was made in", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      let text: string;
      try {
        text = canonical(value);
      } catch {
        return;
      }
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      assert.equal(canonical(JSON.parse(text)), text);
    }),
  );
});

test("values that JSON cannot hold have no canonical form", async () => {
  const deep = JSON.parse(`${"[".repeat(70)}${"]".repeat(70)}`);
  const bad: unknown[] = [undefined, Number.NaN, Number.POSITIVE_INFINITY, 1n, () => 1, Symbol("x"), "\ud800", deep];
  bad.push({ a: undefined }, [undefined], new Array(2), new Date(0), new Map(), new Uint8Array(2), { "\ud800": 1 });
  for (const value of bad) assert.equal(await codeOf(() => jcs(value)), "JCS_INVALID");
});

test("the bytes that a DSSE signature covers", () => {
  const pae = dssePae("http://example.com/HelloWorld", utf8("hello world"));
  assert.equal(fromUtf8(pae), "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
  assert.equal(fromUtf8(dssePae("ä", utf8("ö"))), "DSSEv1 2 ä 2 ö", "lengths are those of the bytes");
});

test("a DSSE envelope survives its own text, and a wrong one is refused", async () => {
  const envelope = {
    payloadType: "application/x",
    payload: utf8("{}"),
    signatures: [{ keyId: undefined, signature: utf8("s") }],
  };
  assert.deepEqual(parseDsse(JSON.stringify(dsseToJson(envelope))), envelope);
  const good = dsseToJson(envelope);
  const bad: object[] = [
    { ...good, payload: "e30" },
    { ...good, payload: "e3 0=" },
    { ...good, payloadType: "" },
    { ...good, payloadType: "x".repeat(257) },
    { ...good, signatures: [] },
    { ...good, signatures: Array.from({ length: 17 }, () => good.signatures[0]) },
    { ...good, signatures: [{ sig: "*" }] },
    { ...good, signatures: [{ sig: "A".repeat(4_100) }] },
    [],
  ];
  for (const value of bad) assert.equal(await codeOf(() => parseDsse(value)), "DSSE_INVALID", JSON.stringify(value));
  assert.equal(await codeOf(() => parseDsse("{")), "INVALID_JSON");
});

test("PEM comes back as it was, and a damaged block is not passed over", async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { minLength: 1, maxLength: 4 }), (ders) => {
      const text = ders.map((der) => toPem("CERTIFICATE", der)).join("a line between\n");
      assert.deepEqual(
        parsePem(text).map(({ der }) => der),
        ders,
      );
      assert.ok(text.split("\n").every((line) => line.length <= 64));
    }),
  );
  const good = toPem("CERTIFICATE", new Uint8Array(100));
  const bad: string[] = [
    "",
    "no block",
    `${good}-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n`,
    `${good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END PUBLIC KEY-----\n`,
    `${good}${good.slice(0, 60)}`,
    "-----BEGIN X-----\n-----END X-----\n",
    "-----BEGIN X-----\nAAA\n-----END X-----\n",
    good.repeat(65),
    `${" ".repeat(1024 * 1024)}${good}`,
  ];
  for (const text of bad) assert.equal(await codeOf(() => parsePem(text)), "PEM_INVALID", text.slice(-60));
  assert.equal(toPem("X", new Uint8Array(48)).split("\n")[1], toBase64(new Uint8Array(48)));
});
