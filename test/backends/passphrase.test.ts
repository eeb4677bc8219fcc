/** Passphrases: what a wrap says of itself, what a stranger's wrap may cost, and that one text opens under one passphrase. */
import assert from "node:assert/strict";
import { argon2Sync, createCipheriv, randomBytes } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { openKeyWrapper, type WrappedKey } from "../../src/backends/index.ts";
import { isAffordable, readParameters, writeParameters } from "../../src/backends/passphrase/parameters.ts";
import { utf8 } from "../../src/base/index.ts";
import { jcs } from "../../src/codec/index.ts";
import { codeOf, random } from "../sealing/support.ts";

const KEY = randomBytes(32);
const context = { package_id: "p", root_digest: "r" };
const CHEAP = "passphrase:?memory-mib=19&passes=2";

function open(words: string, uri = CHEAP, asked: string[] = []) {
  const passphrase = async (use: "wrap" | "unwrap") => {
    asked.push(use);
    return utf8(words);
  };
  return openKeyWrapper(uri, { random, passphrase });
}

test("a wrap opens with its passphrase alone, whose bytes are asked for once and shown nowhere", async () => {
  const asked: string[] = [];
  const wrapper = await open("words of mine", CHEAP, asked);
  const wrapped = await wrapper.wrap(KEY, context);
  assert.deepEqual(Buffer.from(await wrapper.unwrap(wrapped, context)), KEY);
  assert.deepEqual(asked, ["wrap"]);
  assert.equal(wrapped.kms, "passphrase:");
  assert.ok(!inspect(wrapper, { depth: 9, showHidden: true }).includes("words of mine"));
  for (const words of ["words of Mine", "words of mine ", "w"])
    assert.equal(await codeOf(async () => (await open(words)).unwrap(wrapped, context)), "UNWRAP_FAILED");
  const elsewhere = await open("words of mine", "passphrase:");
  assert.deepEqual(Buffer.from(await elsewhere.unwrap(wrapped, context)), KEY, "the wrap says what it costs");
});

test("the format, written once more from its description", async () => {
  const wrapper = await open("words");
  const wrapped = await wrapper.wrap(KEY, context);
  const [, m, t, p, salt] = /^argon2id:v=19,m=(\d+),t=(\d+),p=(\d+),salt=([\w-]{22})$/.exec(wrapped.keyId) ?? [];
  assert.deepEqual([m, t, p], ["19456", "2", "4"]);
  const made = argon2Sync("argon2id", {
    message: "words",
    nonce: Buffer.from(salt ?? "", "base64url"),
    tagLength: 64,
    memory: Number(m),
    passes: Number(t),
    parallelism: Number(p),
  });
  assert.deepEqual(Buffer.from(wrapped.ciphertext.subarray(0, 32)), made.subarray(32));
  const nonce = randomBytes(12);
  const aad = jcs({ context, format: "modelkeep-passphrase-v1", key_id: wrapped.keyId, key_version: "1" });
  const cipher = createCipheriv("aes-256-gcm", made.subarray(0, 32), nonce).setAAD(aad);
  const sealed = Buffer.concat([cipher.update(KEY), cipher.final()]);
  const ciphertext = Buffer.concat([made.subarray(32), nonce, sealed, cipher.getAuthTag()]);
  assert.deepEqual(Buffer.from(await wrapper.unwrap({ ...wrapped, ciphertext }, context)), KEY);
  ciphertext[0] = (ciphertext[0] ?? 0) ^ 1;
  const uncommitted = { ...wrapped, ciphertext };
  assert.equal(await codeOf(() => wrapper.unwrap(uncommitted, context)), "UNWRAP_FAILED", "GCM alone would open it");
});

test("a stranger's wrap costs no more than the limits, and is refused before any work", async () => {
  const wrapper = await open("words");
  const wrapped = await wrapper.wrap(KEY, context);
  const asking = (change: Partial<Record<"m" | "t" | "p", number>>): WrappedKey => {
    const { m = 19_456, t = 2, p = 4 } = change;
    return { ...wrapped, keyId: wrapped.keyId.replace(/m=\d+,t=\d+,p=\d+/, `m=${m},t=${t},p=${p}`) };
  };
  const start = performance.now();
  for (const change of [
    { m: 4_294_967_295 },
    { m: 1024 * 1024 + 4 },
    { t: 17 },
    { t: 4_294_967_295 },
    { m: 1024 * 1024, t: 3 },
    { p: 17 },
    { m: 31, p: 4 },
  ])
    assert.equal(await codeOf(() => wrapper.unwrap(asking(change), context)), "KMS_KEY_UNFIT", inspect(change));
  assert.ok(performance.now() - start < 200);
  assert.equal(await codeOf(() => wrapper.unwrap(asking({ t: 1 }), context)), "UNWRAP_FAILED");
  assert.equal(await codeOf(() => wrapper.unwrap(asking({ p: 3 }), context)), "UNWRAP_FAILED");
});

test("parameters are read as they are written, and nothing else is", () => {
  const parameters = fc.record({
    memoryKib: fc.integer({ min: 1, max: 2 ** 31 }),
    passes: fc.integer({ min: 1, max: 2 ** 31 }),
    lanes: fc.integer({ min: 1, max: 2 ** 24 }),
    salt: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  });
  fc.assert(
    fc.property(parameters, (given) => void assert.deepEqual(readParameters(writeParameters(given)), { ...given })),
  );
  const good = writeParameters({ memoryKib: 8, passes: 1, lanes: 1, salt: new Uint8Array(16) });
  for (const keyId of [
    "",
    good.replace("argon2id", "argon2i"),
    good.replace("v=19", "v=16"),
    `${good}A`,
    good.slice(0, -1),
  ])
    assert.equal(readParameters(keyId), undefined, keyId);
  assert.equal(readParameters(good.replace(/A$/, "B")), undefined, "base64url that is not canonical");
  assert.equal(readParameters(good.replace("m=8", "m=08")), undefined);
  assert.ok(isAffordable({ memoryKib: 8, passes: 1, lanes: 1 }));
});

test("nobody to ask, an empty passphrase, a long one, and a cost that is too low or too high", async () => {
  assert.equal(await codeOf(() => openKeyWrapper("passphrase:", { random })), "KMS_CREDENTIALS_MISSING");
  for (const words of ["", "x".repeat(1_025)])
    assert.equal(await codeOf(async () => (await open(words)).wrap(KEY, context)), "KMS_CREDENTIALS_MISSING");
  for (const uri of [
    "passphrase:secret",
    "passphrase://x",
    "passphrase:?memory-mib=18&passes=9",
    "passphrase:?memory-mib=19&passes=1",
    "passphrase:?memory-mib=1025&passes=1",
    "passphrase:?memory-mib=1024&passes=3",
    "passphrase:?passes=3",
    "passphrase:?memory-mib=0&passes=0",
  ])
    assert.equal(await codeOf(() => open("x", uri)), "KMS_URI_UNKNOWN", uri);
});
