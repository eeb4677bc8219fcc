/** Encodings are strict: only the canonical text of some bytes decodes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  equalBytes,
  fromBase64,
  fromBase64Url,
  fromHex,
  toBase64,
  toBase64Url,
  toHex,
  uint32be,
  uint64be,
} from "../../src/base/index.ts";

test("round trips", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.deepEqual(fromHex(toHex(bytes)), bytes);
      assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
      assert.deepEqual(fromBase64Url(toBase64Url(bytes)), bytes);
      assert.ok(equalBytes(bytes, Uint8Array.from(bytes)));
    }),
  );
});

test("what is not canonical does not decode", () => {
  for (const text of ["a", "zz", "0x00", " 00"]) assert.equal(fromHex(text), undefined);
  for (const text of ["QQ", "QQ=", "QR==", "Q Q=", "QQ==\n", "_-8="]) assert.equal(fromBase64(text), undefined);
  for (const text of ["QQ==", "QR", "+/8", "Q\n"]) assert.equal(fromBase64Url(text), undefined);
});

test("integers are big-endian", () => {
  assert.equal(toHex(uint32be(0x01020304)), "01020304");
  assert.equal(toHex(uint64be(0x0102030405060708n)), "0102030405060708");
  assert.ok(!equalBytes(uint32be(1), uint64be(1)));
});
