/** Known answers that an engine must give before it is used: a published one, a whole FLOE segment, and refusals. */
import type { AeadEngine, AeadKey } from "./aead.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

/** Test case 16 of "The Galois/Counter Mode of Operation" (McGrew, Viega). */
const PUBLISHED = {
  key: hex("feffe9928665731c6d6a8f9467308308".repeat(2)),
  nonce: hex("cafebabefacedbaddecaf888"),
  aad: hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
  plain: hex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
  ),
  sealed: hex(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
  ),
  tag: hex("76fc6ece0f4e1768cddf8853bb2d551b"),
};

const counting = (from: number, length: number) => Uint8Array.from({ length }, (_, index) => from + index);

/** Segment 7 of a FLOE message, not the last, 1 MiB of the bytes 0 to 250 over and over; computed by another library. */
const SEGMENT = {
  key: counting(0, 32),
  nonce: counting(32, 12),
  aad: hex("000000000000000700"),
  pattern: counting(0, 251),
  bytes: 1_048_576,
  tag: hex("f79f358c8eba0c4fccae58da1b4b4987"),
};

/** One context takes all of an engine's answers in a row, as it takes segments. */
export function checkAead(engine: AeadEngine): boolean {
  try {
    return (
      withKey(engine, PUBLISHED.key, (key) => answersPublished(key) && refusesChanged(key) && answersPublished(key)) &&
      withKey(engine, SEGMENT.key, answersSegment)
    );
  } catch {
    return false;
  }
}

function withKey(engine: AeadEngine, bytes: Uint8Array, work: (key: AeadKey) => boolean): boolean {
  const key = engine.key(bytes);
  try {
    return work(key);
  } finally {
    key.wipe();
  }
}

function answersPublished(key: AeadKey): boolean {
  const { nonce, aad, plain, sealed, tag } = PUBLISHED;
  const [bytes, made] = [Uint8Array.from(plain), new Uint8Array(tag.length)];
  key.seal(nonce, aad, bytes, made);
  const sealsRight = same(bytes, sealed) && same(made, tag);
  return sealsRight && key.open(nonce, aad, bytes, tag) && same(bytes, plain);
}

/** Cipher, tag, nonce, associated data: each with one bit turned over. */
function refusesChanged(key: AeadKey): boolean {
  const { nonce, aad, sealed, tag } = PUBLISHED;
  return [0, 1, 2, 3].every((at) => {
    const parts = [sealed, tag, nonce, aad].map((part) => Uint8Array.from(part)) as [Uint8Array, ...Uint8Array[]];
    const [bytes, ...others] = parts;
    const changed = parts[at] ?? bytes;
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    const [t = tag, n = nonce, a = aad] = others;
    return !key.open(n, a, bytes, t) && bytes.every((byte) => byte === 0);
  });
}

/** In memory that threads share, where the segments of a model lie too. */
function answersSegment(key: AeadKey): boolean {
  const bytes = new Uint8Array(new SharedArrayBuffer(SEGMENT.bytes));
  const [filled, made] = [Buffer.from(bytes.buffer).fill(SEGMENT.pattern), new Uint8Array(SEGMENT.tag.length)];
  const plain = Buffer.from(filled);
  key.seal(SEGMENT.nonce, SEGMENT.aad, bytes, made);
  if (!same(made, SEGMENT.tag) || filled.equals(plain)) return false;
  return key.open(SEGMENT.nonce, SEGMENT.aad, bytes, made) && filled.equals(plain);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.length).equals(b);
}
