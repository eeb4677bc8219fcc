/** FLOE against its published known answers: whole, by segment, cut, lengthened, and with every bit turned over. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { loadAead } from "../../src/host/aead.ts";
import { AEAD_NAMES, type AeadEngine, type AeadName } from "../../src/host/index.ts";
import { FLOE_HEADER_BYTES, Floe, type FloeParameters, SEGMENT_OVERHEAD_BYTES } from "../../src/sealing/index.ts";
import { codeOf, random } from "./support.ts";

const vectors = join(process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../shared/vectors"), "floe");
const key = new Uint8Array(32);
const aad = Buffer.from("This is AAD");

const ANSWERS: Readonly<Record<string, FloeParameters>> = {
  cpp_GCM256_IV256_4K: { encryptedSegmentBytes: 4096 },
  cpp_GCM256_IV256_64: { encryptedSegmentBytes: 64 },
  cpp_rotation: { encryptedSegmentBytes: 40, segmentsPerKey: 4 },
  go_GCM256_IV256_4K: { encryptedSegmentBytes: 4096 },
  go_GCM256_IV256_64: { encryptedSegmentBytes: 64 },
  go_rotation: { encryptedSegmentBytes: 40, segmentsPerKey: 4 },
  java_GCM256_IV256_4K: { encryptedSegmentBytes: 4096 },
  java_GCM256_IV256_64: { encryptedSegmentBytes: 64 },
  java_lastSegAligned: { encryptedSegmentBytes: 40 },
  java_lastSegEmpty: { encryptedSegmentBytes: 40 },
  java_rotation: { encryptedSegmentBytes: 40, segmentsPerKey: 4 },
};

const read = (name: string) => Buffer.from(readFileSync(join(vectors, name), "utf8").trim(), "hex");

function segmentsOf(message: Uint8Array, { encryptedSegmentBytes }: FloeParameters): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = FLOE_HEADER_BYTES; at < message.length; at += encryptedSegmentBytes)
    out.push(message.subarray(at, at + encryptedSegmentBytes));
  return out;
}

const engines = (await Promise.all(AEAD_NAMES.map(loadAead))).filter((engine) => engine !== undefined);

/** Says what is not here; `.ci/run` has every engine. */
function sayMissing(t: TestContext): void {
  for (const name of AEAD_NAMES)
    if (!engines.some((engine) => engine.name === name)) t.diagnostic(`no engine ${name}: ${HOW[name]}`);
}

const HOW: Readonly<Record<AeadName, string>> = {
  ffi: "run with Node 26.1 or newer",
  koffi: "npm install koffi",
  crypto: "build Node with OpenSSL",
};

/** As a reader does that knows the number of segments. */
function decrypt(message: Uint8Array, parameters: FloeParameters, count: number, engine?: AeadEngine): Buffer {
  const floe = Floe.decrypt(key, aad, parameters, message.subarray(0, FLOE_HEADER_BYTES), random);
  const segments = segmentsOf(message, parameters);
  const plain = Array.from({ length: count }, (_, index) =>
    floe.openSegment(index, index === count - 1, segments[index] ?? new Uint8Array(0), engine),
  );
  floe.wipe();
  return Buffer.concat(plain);
}

test("every published FLOE message opens by every engine, whole and by segment in any order", (t) => {
  if (!existsSync(vectors)) return t.skip("no vectors: set MODELKEEP_VECTORS to the folder with floe/");
  sayMissing(t);
  for (const [name, parameters] of Object.entries(ANSWERS)) {
    const [message, plain] = [read(`${name}_ct.txt`), read(`${name}_pt.txt`)];
    const segments = segmentsOf(message, parameters);
    for (const engine of engines) {
      const what = `${name} by ${engine.name}`;
      assert.deepEqual(decrypt(message, parameters, segments.length, engine), plain, what);
      const floe = Floe.decrypt(key, aad, parameters, message.subarray(0, FLOE_HEADER_BYTES), random);
      const size = parameters.encryptedSegmentBytes - SEGMENT_OVERHEAD_BYTES;
      for (let index = segments.length - 1; index >= 0; index--) {
        const sealed = segments[index] ?? new Uint8Array(0);
        const part = floe.openSegment(index, index === segments.length - 1, sealed, engine);
        const expected = plain.subarray(index * size, (index + 1) * size);
        assert.deepEqual(Buffer.from(part), expected, `${what} segment ${index}`);
      }
    }
    t.diagnostic(`${name}: ${segments.length} segments, ${engines.map(({ name: engine }) => engine).join(", ")}`);
  }
});

test("all engines make the same bytes of the same key, nonce and associated data, and refuse the same", (t) => {
  sayMissing(t);
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const plains = fc.oneof(fc.uint8Array({ maxLength: 600 }), fc.constantFrom(65_535, 262_145, 1_048_576).chain(bytes));
  const bit = fc.nat();
  fc.assert(
    fc.property(bytes(32), bytes(12), bytes(9), plains, bit, (secret, nonce, associated, plain, place) => {
      const made = engines.map((engine) => {
        const held = engine.key(secret);
        const [body, tag] = [Uint8Array.from(plain), new Uint8Array(16)];
        held.seal(nonce, associated, body, tag);
        const message = Buffer.concat([body, tag]);
        assert.ok(held.open(nonce, associated, body, tag), engine.name);
        assert.deepEqual(body, plain, engine.name);
        const damaged = Uint8Array.from(message);
        const at = place % damaged.length;
        damaged[at] = (damaged[at] ?? 0) ^ (1 << (place % 8));
        const text = damaged.subarray(0, plain.length);
        assert.equal(held.open(nonce, associated, text, damaged.subarray(plain.length)), false, engine.name);
        assert.ok(
          text.every((byte) => byte === 0),
          `${engine.name} leaves unverified bytes`,
        );
        held.wipe();
        return message;
      });
      for (const message of made) assert.deepEqual(message, made[0]);
    }),
    { numRuns: 60 },
  );
});

test("a published message that is cut at a segment, lengthened or reordered is refused", async (t) => {
  if (!existsSync(vectors)) return t.skip("no vectors: set MODELKEEP_VECTORS to the folder with floe/");
  for (const [name, parameters] of Object.entries(ANSWERS)) {
    const message = read(`${name}_ct.txt`);
    const count = segmentsOf(message, parameters).length;
    for (let kept = 1; kept < count; kept++) {
      const cut = message.subarray(0, FLOE_HEADER_BYTES + kept * parameters.encryptedSegmentBytes);
      assert.equal(await codeOf(() => decrypt(cut, parameters, kept)), "SEALED_TAMPERED", `${name} cut at ${kept}`);
      assert.equal(await codeOf(() => decrypt(cut, parameters, count)), "SEALED_TAMPERED", `${name} cut at ${kept}`);
    }
    const longer = Buffer.concat([message, Buffer.alloc(1)]);
    const longerCount = segmentsOf(longer, parameters).length;
    assert.equal(await codeOf(() => decrypt(longer, parameters, longerCount)), "SEALED_TAMPERED", `${name} lengthened`);
    const floe = Floe.decrypt(key, aad, parameters, message.subarray(0, FLOE_HEADER_BYTES), random);
    const first = segmentsOf(message, parameters)[0] ?? new Uint8Array(0);
    assert.equal(await codeOf(() => floe.openSegment(1, count === 1, first)), "SEALED_TAMPERED", `${name} moved`);
  }
});

test("every bit of a published message counts, and so do key, associated data and parameters", async (t) => {
  if (!existsSync(vectors)) return t.skip("no vectors: set MODELKEEP_VECTORS to the folder with floe/");
  for (const name of ["java_lastSegAligned", "java_lastSegEmpty", "java_rotation"]) {
    const parameters = ANSWERS[name] ?? assert.fail(name);
    const message = read(`${name}_ct.txt`);
    const count = segmentsOf(message, parameters).length;
    for (let bit = 0; bit < message.length * 8; bit++) {
      const damaged = Buffer.from(message);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(await codeOf(() => decrypt(damaged, parameters, count)), "SEALED_TAMPERED", `${name} bit ${bit}`);
    }
    const header = message.subarray(0, FLOE_HEADER_BYTES);
    const other = Uint8Array.from([1, ...key.subarray(1)]);
    const wrong: [Uint8Array, Uint8Array, FloeParameters, Uint8Array][] = [
      [other, aad, parameters, header],
      [key, Buffer.from("This is aad"), parameters, header],
      [key, aad, { encryptedSegmentBytes: parameters.encryptedSegmentBytes + 1 }, header],
      [key, aad, parameters, header.subarray(1)],
    ];
    for (const [k, a, p, h] of wrong)
      assert.equal(await codeOf(() => Floe.decrypt(k, a, p, h, random)), "SEALED_TAMPERED", name);
  }
});

test("what is sealed opens again, for any segment length and any plaintext; no two messages are alike", () => {
  const lengths = fc.integer({ min: SEGMENT_OVERHEAD_BYTES + 1, max: 200 });
  fc.assert(
    fc.property(lengths, fc.uint8Array({ maxLength: 2_000 }), (encryptedSegmentBytes, plain) => {
      const parameters = { encryptedSegmentBytes, segmentsPerKey: 2 };
      const size = encryptedSegmentBytes - SEGMENT_OVERHEAD_BYTES;
      const count = Math.max(1, Math.ceil(plain.length / size));
      const seal = () => {
        const floe = Floe.encrypt(key, aad, parameters, random);
        const parts = Array.from({ length: count }, (_, index) =>
          floe.sealSegment(index, index === count - 1, plain.subarray(index * size, (index + 1) * size)),
        );
        return Buffer.concat([floe.header, ...parts]);
      };
      const message = seal();
      assert.equal(message.length, FLOE_HEADER_BYTES + plain.length + count * SEGMENT_OVERHEAD_BYTES);
      assert.deepEqual(decrypt(message, parameters, count), Buffer.from(plain));
      assert.notDeepEqual(seal(), message);
    }),
    { numRuns: 100 },
  );
});

test("a segment of a length that FLOE does not know is not sealed", () => {
  const floe = Floe.encrypt(key, aad, { encryptedSegmentBytes: 64 }, random);
  assert.throws(() => floe.sealSegment(0, false, new Uint8Array(31)), RangeError);
  assert.throws(() => floe.sealSegment(0, true, new Uint8Array(33)), RangeError);
  assert.throws(() => floe.sealSegment(2 ** 40, true, new Uint8Array(0)), RangeError);
});
