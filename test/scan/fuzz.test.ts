/** Mutated files of every kind: the scanner never throws, never hangs, and its verdict fits its findings. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { memorySource } from "../../src/artifact/index.ts";
import { worstVerdict } from "../../src/scan/index.ts";
import { inspect } from "../../src/scan/inspect.ts";
import { Inspection } from "../../src/scan/inspection.ts";
import { evilPickle, fuzzMs, gguf, latin1, safePickle, safetensors, tar, vectors, zip } from "./support.ts";

/** Longest time for one small file, in milliseconds; generous, since other work shares the processors. */
const SLOWEST_MS = 5000;

const OWN: readonly Uint8Array[] = [
  evilPickle,
  safePickle,
  zip([
    { name: "a/data.pkl", data: safePickle, deflate: true },
    { name: "b", data: evilPickle },
  ]),
  tar([
    { name: "x", data: safePickle },
    { name: "l", type: "2", target: "x" },
  ]),
  gzipSync(safePickle),
  safetensors('{"__metadata__":{"a":"b"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', Buffer.alloc(8)),
  gguf({ texts: { "tokenizer.chat_template": "{{ a }}" }, tensors: [["a", 0, [4], 0]], data: 32 }),
  latin1("\x93NUMPY\x01\x00\x36\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n\x80\x02N."),
  Buffer.from('{"chat_template": "{% for m in messages %}{{ m }}{% endfor %}", "auto_map": {}}'),
  latin1("\x12\x12\x12\x10\x0a\x0e\x0a\x05Const\x12\x05Const"),
];

function samples(): Uint8Array[] {
  if (!existsSync(vectors)) return [];
  const paths = readdirSync(vectors, { recursive: true, encoding: "utf8" }).map((name) => join(vectors, name));
  return paths
    .filter((path) => statSync(path).isFile() && statSync(path).size < 20_000)
    .map((path) => readFileSync(path));
}

test("fuzz: any bytes get a verdict", () => {
  const seeds = [...OWN, ...samples()];
  let state = 99_991;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const until = performance.now() + fuzzMs;
  let runs = 0;
  for (; performance.now() < until; runs++) {
    const bytes = Buffer.from(seeds[random(seeds.length)] ?? []);
    for (let count = random(6); count > 0 && bytes.length > 0; count--) bytes[random(bytes.length)] = random(256);
    const file = random(5) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes;
    const inspection = new Inspection("fuzz", inspect);
    const started = performance.now();
    assert.doesNotThrow(() => inspect(memorySource(file), inspection), `seed state ${state}`);
    assert.ok(performance.now() - started < SLOWEST_MS, `slow: ${file.toString("hex").slice(0, 400)}`);
    const { list, verdict } = inspection.findings;
    assert.equal(verdict, worstVerdict(list.map(({ severity }) => severity)));
  }
  assert.ok(runs > 50, `${runs} runs`);
});

test("fuzz: a dangerous pickle stays dangerous in every wrapping", () => {
  const wrappings: readonly ((bytes: Uint8Array) => Uint8Array)[] = [
    (bytes) => zip([{ name: "x", data: bytes }]),
    (bytes) => zip([{ name: "x", data: bytes, deflate: true, flags: 1 }]),
    (bytes) => tar([{ name: "x", data: bytes }]),
    (bytes) => gzipSync(bytes),
    (bytes) => Buffer.concat([safePickle, bytes]),
  ];
  for (const outer of wrappings) {
    for (const inner of wrappings) {
      const inspection = new Inspection("wrapped", inspect);
      inspect(memorySource(outer(inner(latin1("\x80\x02cos\nsystem\n)R.")))), inspection);
      assert.notEqual(inspection.findings.verdict, "clean", `${wrappings.indexOf(outer)} ${wrappings.indexOf(inner)}`);
    }
  }
});
