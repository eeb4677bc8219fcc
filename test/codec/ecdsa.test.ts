/** Raw ECDSA signatures: whatever the bytes are, the answer is the one that Node gives for this form. */
import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { verifyRawEcdsa } from "../../src/codec/index.ts";

const CURVES = ["P-256", "P-384", "P-521"] as const;
const pairs = CURVES.map((namedCurve) => generateKeyPairSync("ec", { namedCurve }));
const HASHES = ["sha256", "sha384", "sha512"] as const;
const raw = (key: KeyObject) => ({ key, dsaEncoding: "ieee-p1363" }) as const;

test("what was signed verifies on every curve with every hash, and nothing else does (property)", () => {
  const given = fc.record({
    curve: fc.nat({ max: 2 }),
    hash: fc.constantFrom(...HASHES),
    bytes: fc.uint8Array({ maxLength: 300 }),
    bit: fc.nat(),
  });
  fc.assert(
    fc.property(given, ({ curve, hash, bytes, bit }) => {
      const pair = pairs[curve];
      assert.ok(pair);
      const signature = new Uint8Array(sign(hash, bytes, raw(pair.privateKey)));
      assert.ok(verifyRawEcdsa(hash, bytes, pair.publicKey, signature));
      const at = bit % (signature.length * 8);
      signature[at >> 3] = (signature[at >> 3] ?? 0) ^ (1 << (at & 7));
      assert.ok(!verifyRawEcdsa(hash, bytes, pair.publicKey, signature));
    }),
    { numRuns: 300 },
  );
});

test("signatures of zeros, of small and of largest numbers, and of any bytes get Node's answer (property)", () => {
  const bytes = new Uint8Array(8);
  const byte = fc.constantFrom(0, 0, 0, 1, 0x7f, 0x80, 0xff);
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 140 }),
    fc.constantFrom(64, 96, 132).chain((length) => fc.array(byte, { minLength: length, maxLength: length })),
    fc.constantFrom(64, 96, 132).map((length) => Array.from({ length }, () => 0)),
  );
  fc.assert(
    fc.property(fc.nat({ max: 2 }), any, (curve, made) => {
      const key = pairs[curve]?.publicKey;
      assert.ok(key);
      const signature = Uint8Array.from(made);
      assert.equal(verifyRawEcdsa("sha256", bytes, key, signature), verify("sha256", bytes, raw(key), signature));
    }),
    { numRuns: 500 },
  );
});

test("r and s that begin with zeros are the same numbers", () => {
  const pair = pairs[0];
  assert.ok(pair);
  const seen = new Set<string>();
  for (let count = 0; seen.size < 2 && count < 20_000; count++) {
    const bytes = Buffer.from(String(count));
    const signature = sign("sha256", bytes, raw(pair.privateKey));
    const short = signature[0] === 0 ? "r" : signature[32] === 0 ? "s" : undefined;
    if (short === undefined) continue;
    seen.add(short);
    assert.ok(verifyRawEcdsa("sha256", bytes, pair.publicKey, signature));
  }
  assert.equal(seen.size, 2);
});

test("keys of another kind or curve are no keys of such a signature", () => {
  const bytes = new Uint8Array(8);
  const others = [
    generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey,
    generateKeyPairSync("ed25519").publicKey,
    generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey,
    createPublicKey(generateKeyPairSync("dsa", { modulusLength: 1024, divisorLength: 256 }).privateKey),
  ];
  for (const key of others)
    for (const length of [64, 96, 132]) {
      assert.equal(verifyRawEcdsa("sha256", bytes, key, new Uint8Array(length).fill(1)), false, key.asymmetricKeyType);
    }
});
