/** DER: what is legal comes out whole; what another encoder might have written otherwise is refused. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import {
  DerFields,
  type DerNode,
  derBitBytes,
  derBitString,
  derBoolean,
  derInner,
  derInteger,
  derNamedBits,
  derOctets,
  derOid,
  derSequence,
  derSmallInteger,
  derString,
  derTime,
  parseDer,
} from "../../src/codec/index.ts";
import {
  bits,
  boolean,
  explicit,
  generalizedTime,
  ia5String,
  integer,
  octets,
  oid,
  printableString,
  sequence,
  setOf,
  time,
  tlv,
  utcTime,
  utf8String,
} from "../support/der-writer.ts";
import { codeOf, fuzzMs } from "./certificates.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
const refused = (bytes: Uint8Array, why?: string) =>
  assert.equal(
    codeOf(() => parseDer(bytes)),
    "DER_INVALID",
    why ?? Buffer.from(bytes).toString("hex"),
  );
const unread = (bytes: Uint8Array, read: (node: DerNode) => unknown, why?: string) =>
  assert.equal(
    codeOf(() => read(parseDer(bytes))),
    "DER_INVALID",
    why ?? Buffer.from(bytes).toString("hex"),
  );

test("numbers, identifiers, times and texts survive being written", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 160n), max: 2n ** 160n }), (value) => {
      assert.equal(derInteger(parseDer(integer(value))), value);
    }),
  );
  const arc = fc.bigInt({ min: 0n, max: 2n ** 100n });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 }), fc.array(arc, { minLength: 1, maxLength: 8 }), (first, arcs) => {
      const [second = 0n, ...rest] = arcs;
      const text = [first, first < 2 ? second % 40n : second, ...rest].join(".");
      assert.equal(derOid(parseDer(oid(text))), text);
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 253_402_300_799 }), (second) => {
      assert.equal(derTime(parseDer(generalizedTime(second * 1000))), second * 1000);
      assert.equal(derTime(parseDer(time(second * 1000))), second * 1000);
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      if (text.includes("\0")) return unread(utf8String(text), derString);
      assert.equal(derString(parseDer(utf8String(text))), text);
    }),
  );
});

test("a tree keeps its bytes, its offsets and its order", () => {
  const der = sequence(integer(5), explicit(1, octets(hex("aabb"))), setOf(integer(2), integer(1)));
  const root = parseDer(der);
  const [five, tagged, set] = derSequence(root);
  assert.ok(five && tagged && set);
  assert.deepEqual([five.offset, tagged.offset, set.offset], [2, 5, 11]);
  assert.deepEqual(tagged.tag, { class: "context", number: 1, constructed: true });
  assert.deepEqual([...derOctets(derInner(tagged))], [0xaa, 0xbb]);
  assert.deepEqual(set.children.map(derSmallInteger), [1, 2]);
  assert.equal(Buffer.concat(root.children.map(({ raw }) => raw)).equals(root.content), true);
});

test("lengths: definite, minimal, inside of what holds them, nothing after", () => {
  refused(hex(""), "empty");
  refused(hex("30 80 02 01 05 00 00"), "indefinite");
  refused(hex("04 81 05 0102030405"), "long form of a short length");
  refused(hex(`04 82 0080 ${"00".repeat(128)}`), "a zero before the length");
  refused(hex("04 84 ffffffff 00"), "four gigabytes");
  refused(hex("04 88 0000000000000001 00"), "eight octets of length");
  refused(hex("04 ff 00"), "reserved length");
  refused(hex("30 03 04 02 aa"), "a child longer than its parent");
  refused(hex("02 01 05 00"), "a byte after");
  refused(hex("30 02 02 01"), "cut short");
  assert.equal(parseDer(hex(`04 81 80 ${"00".repeat(128)}`)).content.length, 128);
});

test("tags: universal types have one form, large numbers the shortest", () => {
  refused(hex("24 03 04 01 aa"), "a string in pieces");
  refused(hex("10 00"), "a primitive SEQUENCE");
  refused(hex("00 00"), "end of contents");
  refused(hex("1f 1e 00"), "a small number in the long form");
  refused(hex("9f 80 7f 00"), "a zero before the number");
  refused(hex("9f ff ff ff 7f 00"), "too large a number");
  refused(hex("9f"), "cut short");
  assert.deepEqual(parseDer(hex("9f 1f 00")).tag, { class: "context", number: 31, constructed: false });
  assert.equal(parseDer(hex("9f 87 68 00")).tag.number, 1000);
});

test("values that have two spellings have one here", () => {
  for (const bad of ["01 01 01", "01 00", "01 02 ffff", "02 00", "02 02 0001", "02 02 ff80", "05 01 00"])
    refused(hex(bad));
  for (const bad of ["03 00", "03 01 01", "03 02 08 00", "03 02 01 01", "06 00", "06 02 80 01", "06 02 2a 86"])
    refused(hex(bad));
  refused(hex(`06 15 2a ${"ff".repeat(19)} 7f`), "an arc without end");
  refused(hex("31 06 02 01 02 02 01 01"), "a SET out of order");
  assert.equal(derBoolean(parseDer(boolean(true))), true);
  assert.equal(derInteger(parseDer(hex("02 02 0080"))), 128n);
  assert.equal(derInteger(parseDer(hex("02 01 80"))), -128n);
});

test("bit strings", () => {
  assert.deepEqual(derBitString(parseDer(bits(hex("a0"), 5))), { bytes: hex("a0"), unusedBits: 5 });
  assert.deepEqual(derNamedBits(parseDer(bits(hex("a080"), 7))), [0, 2, 8]);
  unread(bits(hex("a0"), 5), derBitBytes);
});

test("small numbers, and readers that are given another type", () => {
  assert.equal(derSmallInteger(parseDer(integer(Number.MAX_SAFE_INTEGER))), Number.MAX_SAFE_INTEGER);
  for (const value of [-1n, 2n ** 53n, 2n ** 70n]) unread(integer(value), derSmallInteger);
  for (const read of [derInteger, derOid, derOctets, derBitString, derBoolean, derTime, derString, derSequence]) {
    unread(tlv(0x05), read);
    unread(tlv(0x80), read);
  }
});

test("times are of one form and of a day that is", () => {
  const at = (text: string, tag: number) => tlv(tag, Buffer.from(text));
  assert.equal(derTime(parseDer(at("491231235959Z", 0x17))), Date.UTC(2049, 11, 31, 23, 59, 59));
  assert.equal(derTime(parseDer(at("500101000000Z", 0x17))), Date.UTC(1950, 0, 1));
  assert.equal(derTime(parseDer(utcTime(0))), 0);
  assert.equal(derTime(parseDer(at("00010101000000Z", 0x18))), -62_135_596_800_000);
  for (const bad of ["2401010000Z", "240101000000", "240101000000+0000", "240230000000Z", "241301000000Z"]) {
    unread(at(bad, 0x17), derTime);
  }
  for (const bad of ["20240101000060Z", "20240101240000Z", "20240101000000.5Z", "20240101006000Z", "2024010100Z"]) {
    unread(at(bad, 0x18), derTime);
  }
  unread(at("20240101000000Z", 0x17), derTime);
});

test("texts hold what their type holds", () => {
  assert.equal(derString(parseDer(printableString("A-z 0'()+,./:=?"))), "A-z 0'()+,./:=?");
  assert.equal(derString(parseDer(tlv(0x1e, hex("00e4 20ac")))), "ä€");
  for (const bad of ["c0 80", "ed a0 80", "ff", "e2 82", "f4 90 80 80", "61 00 62"])
    unread(tlv(0x0c, hex(bad)), derString);
  for (const bad of ["d800", "00"]) unread(tlv(0x1e, hex(bad)), derString);
  unread(printableString("a@b"), derString);
  unread(printableString("a*b"), derString);
  unread(tlv(0x16, hex("e4")), derString);
  unread(ia5String("a\0b"), derString);
  assert.notEqual(derString(parseDer(tlv(0x0c, hex("efbbbf 61")))), "a", "a byte order mark is not lost");
});

test("fields are taken in order, and none is left", () => {
  const node = parseDer(sequence(integer(1), explicit(3, integer(2))));
  const fields = new DerFields(node);
  assert.equal(derSmallInteger(fields.take()), 1);
  assert.equal(fields.takeContext(0), undefined);
  assert.equal(
    codeOf(() => fields.end()),
    "DER_INVALID",
  );
  assert.ok(fields.takeContext(3));
  fields.end();
  assert.equal(
    codeOf(() => fields.take()),
    "DER_INVALID",
  );
  unread(sequence(explicit(0)), (root) => derInner(root.children[0] ?? root));
});

test("depth, number and size have limits", () => {
  let deep = integer(1);
  for (let level = 0; level < 31; level++) deep = sequence(deep);
  assert.ok(parseDer(deep));
  refused(sequence(deep));
  const many = sequence(...Array.from({ length: 4095 }, () => tlv(0x05)));
  assert.ok(parseDer(many));
  refused(sequence(...Array.from({ length: 4096 }, () => tlv(0x05))));
  refused(octets(new Uint8Array(64 * 1024)));
  let bomb = new Uint8Array();
  for (let level = 0; level < 10_000; level++) bomb = new Uint8Array([0x30, 0x80, ...bomb.slice(0, 4)]);
  refused(bomb);
  refused(new Uint8Array(60_000).fill(0x30));
});

test("whatever the bytes are: a tree that writes back to them, or DER_INVALID", () => {
  const seed = sequence(
    integer(5),
    setOf(oid("1.2.3")),
    explicit(0, utf8String("x")),
    bits(hex("a0"), 5),
    boolean(true),
  );
  const end = Date.now() + fuzzMs / 2;
  let parsed = 0;
  while (Date.now() < end) {
    const bytes = Uint8Array.from(seed);
    for (const [index, value] of randomBytes(4).entries())
      bytes[(value * 7 + index) % bytes.length] = randomBytes(1)[0] ?? 0;
    const why = codeOf(() => {
      assert.equal(Buffer.from(rewrite(parseDer(bytes))).equals(bytes), true);
      parsed++;
    });
    assert.ok(why === undefined || why === "DER_INVALID");
  }
  assert.ok(parsed > 0);
});

/** From the tags and the leaves alone, by the test's own writer. */
function rewrite(node: DerNode): Uint8Array {
  const first = node.raw[0] ?? 0;
  const leaf = node.tag.constructed ? node.children.map(rewrite) : [node.content];
  return (first & 0x1f) === 0x1f ? node.raw : tlv(first, ...leaf);
}
