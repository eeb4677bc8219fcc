/** HPKE: the vector of RFC 9180's authors for this suite, both ways with another implementation, and what must not open. */
import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import fc from "fast-check";
import { fromUtf8, toBase64Url, utf8 } from "../../src/base/index.ts";
import { createHpkeKeyPair, openHpke, pointOf, readHpkeKey, sealHpke } from "../../src/codec/index.ts";

const other = new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

/** Mode 0, KEM 0x0010, KDF 0x0001, AEAD 0x0002, the first message. */
const vector = {
  info: hex("4f6465206f6e2061204772656369616e2055726e"),
  privateKey: hex("317f915db7bc629c48fe765587897e01e282d3e8445f79f27f65d031a88082b2"),
  publicKey: hex(
    "04abc7e49a4c6b3566d77d0304addc6ed0e98512ffccf505e6a8e3eb25c685136f853148544876de76c0f2ef99cdc3a05ccf5ded7860c7c021238f9e2073d2356c",
  ),
  enc: hex(
    "04c06b4f6bebc7bb495cb797ab753f911aff80aefb86fd8b6fcc35525f3ab5f03e0b21bd31a86c6048af3cb2d98e0d3bf01da5cc4c39ff5370d331a4f1f7d5a4e0",
  ),
  aad: hex("436f756e742d30"),
  ciphertext: hex("58c61a45059d0c5704560e9d88b564a8b63f1364b8d1fcb3c4c6ddc1d291742465e902cd216f8908da49f8f96f"),
};

function keyOfVector() {
  const { privateKey: d, publicKey } = vector;
  const [x, y] = [publicKey.subarray(1, 33), publicKey.subarray(33)].map(toBase64Url);
  const jwk = { kty: "EC", crv: "P-256", d: toBase64Url(d), x: x ?? "", y: y ?? "" };
  return createPrivateKey({ key: jwk, format: "jwk" });
}

test("the published vector opens, and nothing that differs from it in one bit", async () => {
  const key = keyOfVector();
  const opened = await openHpke(vector, key, vector);
  assert.equal(opened && fromUtf8(opened), "Beauty is truth, truth beauty");
  for (const field of ["enc", "ciphertext", "info", "aad"] as const)
    for (let at = 0; at < vector[field].length; at++) {
      const changed = { ...vector, [field]: vector[field].slice() };
      changed[field][at] = (changed[field][at] ?? 0) ^ (1 << (at % 8));
      assert.equal(await openHpke(changed, key, changed), undefined, `${field} ${at}`);
    }
});

test("what one implementation seals the other opens", async () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(bytes, bytes, bytes, async (plaintext, info, aad) => {
      const ours = createHpkeKeyPair();
      const theirs = await other.kem.generateKeyPair();
      const copy = (from: Uint8Array) => new Uint8Array(from);
      const point = new Uint8Array(await other.kem.serializePublicKey(theirs.publicKey));
      const to = readHpkeKey(point);
      assert.ok(to);
      const sent = sealHpke(plaintext, to, { info, aad });
      const recipient = { recipientKey: theirs, enc: copy(sent.enc), info: copy(info) };
      assert.deepEqual(copy(new Uint8Array(await other.open(recipient, copy(sent.ciphertext), copy(aad)))), plaintext);
      const recipientPublicKey = await other.kem.deserializePublicKey(copy(ours.publicKey));
      const sender = await other.createSenderContext({ recipientPublicKey, info: copy(info) });
      const message = {
        ciphertext: new Uint8Array(await sender.seal(copy(plaintext), copy(aad))),
        enc: new Uint8Array(sender.enc),
      };
      assert.deepEqual(await openHpke(message, ours.privateKey, { info, aad }), plaintext);
    }),
    { numRuns: 25 },
  );
});

test("the same message is never sealed alike, and opens for its own key alone", async () => {
  const [one, two] = [createHpkeKeyPair(), createHpkeKeyPair()];
  const to = createPublicKey(one.privateKey);
  const context = { info: utf8("i") };
  const [first, second] = [sealHpke(utf8("x"), to, context), sealHpke(utf8("x"), to, context)];
  assert.notDeepEqual(first.enc, second.enc);
  assert.notDeepEqual(first.ciphertext, second.ciphertext);
  assert.deepEqual(await openHpke(first, one.privateKey, context), utf8("x"));
  assert.equal(await openHpke(first, two.privateKey, context), undefined);
  assert.equal(await openHpke({ ...first, enc: second.enc }, one.privateKey, context), undefined);
  assert.equal(await openHpke({ ...first, ciphertext: new Uint8Array(15) }, one.privateKey, context), undefined);
});

test("points that are none are refused: off the curve, at infinity, compressed, hybrid, beyond the field, too long", async () => {
  const { privateKey, publicKey } = createHpkeKeyPair();
  assert.ok(readHpkeKey(publicKey));
  const changed = (at: number, byte: number) => publicKey.with(at, byte);
  const beyond = new Uint8Array(65).fill(0xff).with(0, 4);
  const bad: Uint8Array[] = [
    changed(64, (publicKey[64] ?? 0) ^ 1),
    changed(0, 6 + ((publicKey[64] ?? 0) & 1)),
    changed(0, 5),
    publicKey.slice(0, 33).with(0, 2),
    new Uint8Array(1),
    new Uint8Array(65),
    new Uint8Array(65).with(0, 4),
    beyond,
    new Uint8Array([...publicKey, 0]),
    new Uint8Array(0),
  ];
  const sealed = sealHpke(utf8("x"), createPublicKey(privateKey), { info: utf8("i") });
  for (const point of bad) {
    assert.equal(readHpkeKey(point), undefined, Buffer.from(point).toString("hex"));
    const opened = await openHpke({ ...sealed, enc: point }, privateKey, { info: utf8("i") });
    assert.equal(opened, undefined, Buffer.from(point).toString("hex"));
  }
  const foreign = generateKeyPairSync("ec", { namedCurve: "P-384" });
  assert.equal(readHpkeKey(pointOf(foreign.publicKey)), undefined);
  assert.equal(await openHpke(sealed, foreign.privateKey, { info: utf8("i") }), undefined);
});
