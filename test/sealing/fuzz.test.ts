/** Every parser of a stranger's bytes, fed with damaged documents: an answer in time or one of our codes, nothing else. */
import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ModelkeepError } from "../../src/base/index.ts";
import { parsePem } from "../../src/codec/index.ts";
import { parseEnvelope, verifySeal } from "../../src/sealing/index.ts";
import {
  loadTrustedKey,
  makeBundle,
  signModel,
  trustKeys,
  verifyBundle,
  verifyStatement,
} from "../../src/signing/index.ts";
import { makePair, makeSealed, writeModel } from "./support.ts";

const SECONDS = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 1);
const WORDS = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "null",
  "1e999",
  "\\u0000",
  "__proto__",
  '"a":',
  "-----BEGIN ",
  "\n",
  "==",
];

/** One to four changes: a byte turned over, a piece cut out, doubled, or replaced by a word that parsers know. */
function damage(original: Buffer): Buffer {
  let out = original;
  for (let changes = randomInt(1, 5); changes > 0 && out.length > 1; changes--) {
    const at = randomInt(out.length);
    const end = Math.min(out.length, at + randomInt(1, 40));
    const pieces = [
      () => Buffer.concat([out.subarray(0, at), randomBytes(1), out.subarray(at + 1)]),
      () => Buffer.concat([out.subarray(0, at), out.subarray(end)]),
      () => Buffer.concat([out.subarray(0, end), out.subarray(at)]),
      () => Buffer.concat([out.subarray(0, at), Buffer.from(WORDS[randomInt(WORDS.length)] ?? ""), out.subarray(at)]),
    ];
    out = pieces[randomInt(pieces.length)]?.() ?? out;
  }
  return out;
}

const pair = makePair();
const trust = trustKeys([pair.publicPem]);
const { bundle, rootDigest } = await signModel({ root: writeModel({ a: "1", "b/c": "2" }), signer: pair.signer });
const made = await makeSealed({ a: "1", "b/c": "2" }, { pair });
const seal = readFileSync(join(made.folder, "seal.json"));
const envelope = readFileSync(join(made.folder, "envelope.json"));
const manifest = verifyBundle(bundle, trust);

const PARSERS: Readonly<Record<string, { seed: Uint8Array; parse: (bytes: Buffer) => unknown }>> = {
  bundle: { seed: bundle, parse: (bytes) => verifyBundle(bytes, trust) },
  "signed manifest": {
    seed: payloadOf(bundle),
    parse: async (bytes) => verifyBundle(await makeBundle(bytes, pair.signer), trust),
  },
  seal: { seed: seal, parse: (bytes) => verifySeal(manifest, bytes, trust) },
  statement: { seed: seal, parse: (bytes) => verifyStatement(bytes, { trust, predicateType: "x", rootDigest }) },
  envelope: { seed: envelope, parse: (bytes) => parseEnvelope(bytes) },
  PEM: { seed: Buffer.from(pair.publicPem), parse: (bytes) => parsePem(bytes.toString("latin1")) },
  "public key": { seed: Buffer.from(pair.publicPem), parse: (bytes) => loadTrustedKey(bytes) },
};

function payloadOf(text: Uint8Array): Buffer {
  return Buffer.from(JSON.parse(Buffer.from(text).toString()).dsseEnvelope.payload, "base64");
}

for (const [name, { seed, parse }] of Object.entries(PARSERS)) {
  test(`${name}: damaged ones are answered by a code, and quickly`, async (t) => {
    const until = performance.now() + (SECONDS * 1000) / 2;
    let runs = 0;
    let refused = 0;
    while (performance.now() < until || runs < 100) {
      const input = damage(Buffer.from(seed));
      const started = performance.now();
      try {
        await parse(input);
      } catch (error) {
        assert.ok(error instanceof ModelkeepError, `${String(error)} for ${input.toString("base64")}`);
        refused++;
      }
      assert.ok(performance.now() - started < 2_000, input.toString("base64"));
      runs++;
    }
    assert.ok(refused > runs / 2, `${refused} of ${runs}`);
    t.diagnostic(`${runs} documents, ${refused} refused`);
  });
}
