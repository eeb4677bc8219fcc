/** What is kept as it was read: one changed byte is read anew, callers cannot change it, and it stays small. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Collateral, parseCollateral } from "../../src/attestation/dcap/collateral.ts";
import { keepRead } from "../../src/attestation/dcap/kept.ts";
import { DCAP_LIMITS } from "../../src/attestation/dcap/limits.ts";
import { verifyQuote } from "../../src/attestation/dcap/verify.ts";
import { tdxProfile } from "../../src/attestation/tdx/profile.ts";
import { utf8 } from "../../src/base/index.ts";
import { anchors, collateralJson, NOW, writeQuote } from "./support/dcap.ts";

function counting() {
  let count = 0;
  const read = keepRead((bytes: Uint8Array) => {
    count++;
    if (bytes[0] === 0xff) throw new Error("unreadable");
    return { bytes };
  });
  return { read, count: () => count };
}

test("the same bytes are read once, other bytes and refused ones each time", () => {
  const { read, count } = counting();
  const bytes = Uint8Array.of(1, 2, 3);
  const first = read(bytes);
  assert.equal(read(bytes.slice()), first);
  assert.equal(count(), 1);
  bytes[2] = 4;
  assert.deepEqual([...first.bytes], [1, 2, 3], "the caller's bytes are the caller's");
  assert.notEqual(read(bytes), first);
  for (let i = 0; i < 2; i++) assert.throws(() => read(Uint8Array.of(0xff)));
  assert.equal(count(), 4);
});

test("few are kept, and none that is large", () => {
  const { read, count } = counting();
  const numbered = (i: number) => Uint8Array.of(0, i >> 8, i & 0xff);
  const all = DCAP_LIMITS.keptItems + 1;
  for (let i = 0; i < all; i++) read(numbered(i));
  read(numbered(all - 1));
  assert.equal(count(), all);
  read(numbered(0));
  assert.equal(count(), all + 1, "the oldest went first");
  const large = new Uint8Array(DCAP_LIMITS.keptBytes + 1);
  read(large);
  read(large);
  assert.equal(count(), all + 3);
});

test("a signature that does not fit is refused although its document was read, and accepted, before", () => {
  const quote = writeQuote();
  const judge = (collateral: Collateral) =>
    verifyQuote({ quote, collateral, profile: tdxProfile.parse({}), now: NOW, anchors });
  const good = collateralJson();
  const parse = (json: object) => parseCollateral(utf8(JSON.stringify(json)));
  assert.equal(judge(parse(good)).verdict, "accepted");
  const flip = (hex = "") => `${hex.slice(0, -1)}${hex.endsWith("0") ? "1" : "0"}`;
  for (const part of ["tcb_info_signature", "qe_identity_signature", "pck_crl", "root_ca_crl"]) {
    const verdict = judge(parse({ ...good, [part]: flip(good[part]) }));
    assert.equal(verdict.verdict, "refused", part);
  }
  assert.equal(judge(parse(good)).verdict, "accepted");
});
