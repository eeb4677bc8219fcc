/** FLOE with segments of 1 MiB: our own known answers, made again by a second program that shares no code with the first. */
import assert from "node:assert/strict";
import { createCipheriv, createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Random } from "../../src/base/index.ts";
import { loadAead } from "../../src/host/aead.ts";
import { AEAD_NAMES } from "../../src/host/index.ts";
import { FLOE_1_MIB, Floe } from "../../src/sealing/index.ts";
import { MIB } from "./support.ts";

interface Vectors {
  readonly key: string;
  readonly aad: string;
  readonly cases: readonly {
    readonly bytes: number;
    readonly iv: string;
    readonly header: string;
    readonly segments: readonly { readonly nonce: string; readonly tag: string; readonly sha256: string }[];
    readonly sha256: string;
  }[];
}

const vectors: Vectors = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../spec/vectors/floe-1-mib.json"), "utf8"),
);
const [key, aad] = [Buffer.from(vectors.key, "hex"), Buffer.from(vectors.aad, "hex")];
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Byte i is i mod 251. */
const plainOf = (bytes: number) =>
  Buffer.alloc(
    bytes,
    Uint8Array.from({ length: 251 }, (_, at) => at),
  );

/** Deals out what the vectors name, in the order in which it is drawn: the IV, then a nonce for each segment. */
function dealing(parts: readonly string[]): Random {
  let at = 0;
  const bytes = (count: number) => {
    const part = Buffer.from(parts[at++] ?? "", "hex");
    assert.equal(part.length, count);
    return new Uint8Array(part);
  };
  return { bytes } as Random;
}

/** From the text of section 6 of the specification, and nothing else. */
function sealBySpecification(
  plain: Buffer,
  iv: Buffer,
  nonces: readonly Buffer[],
): { header: Buffer; segments: Buffer[] } {
  const u32 = (value: number) => Buffer.from(value.toString(16).padStart(8, "0"), "hex");
  const u64 = (value: number) => Buffer.from(value.toString(16).padStart(16, "0"), "hex");
  const parameters = Buffer.concat([Buffer.of(0, 0), u32(1_048_608), u32(32)]);
  const derive = (from: Uint8Array, purpose: Buffer, length: number) =>
    createHmac("sha384", from)
      .update(Buffer.concat([parameters, iv, purpose, aad, Buffer.of(1)]))
      .digest()
      .subarray(0, length);
  const header = Buffer.concat([parameters, iv, derive(key, Buffer.from("HEADER_TAG:"), 32)]);
  const messageKey = derive(key, Buffer.from("MESSAGE_KEY:"), 48);
  const segmentKey = derive(messageKey, Buffer.concat([Buffer.from("DEK:"), u64(0)]), 32);
  const segments = nonces.map((nonce, index) => {
    const isLast = index === nonces.length - 1;
    const part = plain.subarray(index * MIB, (index + 1) * MIB);
    const cipher = createCipheriv("aes-256-gcm", segmentKey, nonce);
    cipher.setAAD(Buffer.concat([u64(index), Buffer.of(isLast ? 1 : 0)]));
    const body = Buffer.concat([cipher.update(part), cipher.final()]);
    const length = isLast ? u32(part.length + 32) : Buffer.from("ffffffff", "hex");
    return Buffer.concat([length, nonce, body, cipher.getAuthTag()]);
  });
  return { header, segments };
}

test("the specification's text makes the known answers", () => {
  assert.deepEqual(
    vectors.cases.map(({ bytes }) => bytes),
    [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 100],
  );
  for (const { bytes, iv, header, segments, sha256: whole } of vectors.cases) {
    const nonces = segments.map(({ nonce }) => Buffer.from(nonce, "hex"));
    const made = sealBySpecification(plainOf(bytes), Buffer.from(iv, "hex"), nonces);
    assert.equal(made.header.toString("hex"), header);
    for (const [at, segment] of made.segments.entries()) {
      assert.equal(sha256(segment), segments[at]?.sha256, `${bytes} bytes, segment ${at}`);
      assert.equal(segment.subarray(-16).toString("hex"), segments[at]?.tag);
    }
    assert.equal(sha256(Buffer.concat([made.header, ...made.segments])), whole);
  }
});

test("every engine makes the known answers, and opens them", async (t) => {
  for (const name of AEAD_NAMES) {
    const engine = await loadAead(name);
    if (!engine) {
      t.diagnostic(`no engine ${name}: ${name === "ffi" ? "run with Node 26.1 or newer" : "npm install koffi"}`);
      continue;
    }
    for (const { bytes, iv, header, segments, sha256: whole } of vectors.cases) {
      const plain = plainOf(bytes);
      const random = dealing([iv, ...segments.map(({ nonce }) => nonce)]);
      using floe = Floe.encrypt(key, aad, FLOE_1_MIB, random);
      assert.equal(Buffer.from(floe.header).toString("hex"), header);
      const parts = segments.map((_, at) => ({ at, isLast: at === segments.length - 1 }));
      const sealed: Uint8Array[] = parts.map(({ at, isLast }) =>
        floe.sealSegment(at, isLast, plain.subarray(at * MIB, (at + 1) * MIB), engine),
      );
      assert.equal(sha256(Buffer.concat([floe.header, ...sealed])), whole, `${name}, ${bytes} bytes`);
      using reader = Floe.decrypt(key, aad, FLOE_1_MIB, Buffer.from(header, "hex"), random);
      const opened: Uint8Array[] = parts.map(({ at, isLast }) =>
        reader.openSegment(at, isLast, sealed[at] ?? new Uint8Array(0), engine),
      );
      assert.ok(Buffer.concat(opened).equals(plain));
    }
    t.diagnostic(`${name}: ${vectors.cases.length} messages`);
  }
});
