/** Headers of safetensors, GGUF and zip: what a writer makes is read, what lies is refused, nothing costs more than the file. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  ARTIFACT_LIMITS,
  type ByteSource,
  Cursor,
  memorySource,
  openFileSource,
  openZipMember,
  readGgufHeader,
  readSafetensorsHeader,
  readZipDirectory,
  sliceSource,
} from "../../src/artifact/index.ts";
import { fuzzMs, gguf, safePickle, safetensors, u64, zip } from "../scan/support.ts";

const keeper = join(import.meta.dirname, "../../examples/model/keeper");

/** Counts the bytes that a reader asks for. */
function counting(source: ByteSource): ByteSource & { asked: number } {
  const counted = {
    bytes: source.bytes,
    asked: 0,
    read(start: number, length: number) {
      counted.asked += Math.min(length, source.bytes - start);
      return source.read(start, length);
    },
  };
  return counted;
}

test("the example model, and only its headers are read", async () => {
  const weights = await openFileSource(join(keeper, "model.safetensors"));
  const seen = counting(weights);
  const header = readSafetensorsHeader(seen);
  assert.ok(
    header.tensors.some(({ name, shape }) => name === "model.embed_tokens.weight" && shape.join() === "1024,192"),
  );
  assert.equal(header.tensors.at(-1)?.end, weights.bytes - header.dataStart);
  assert.ok(seen.asked < 20_000, `${seen.asked} bytes`);
  weights.close();
  const llama = await openFileSource(join(keeper, "keeper.gguf"));
  const seenGguf = counting(llama);
  const { metadata, tensors, version } = readGgufHeader(seenGguf);
  assert.equal(version, 3);
  assert.equal(metadata.get("general.architecture"), "llama");
  assert.equal(tensors.length, header.tensors.length);
  assert.ok(seenGguf.asked < 200_000, `${seenGguf.asked} bytes`);
  llama.close();
});

const SIZES: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2, I64: 8, U8: 1, BOOL: 1 };

const tensors = fc.array(
  fc.record({
    dtype: fc.constantFrom(...Object.keys(SIZES)),
    shape: fc.array(fc.nat({ max: 5 }), { maxLength: 3 }),
  }),
  { maxLength: 8 },
);

function build(list: readonly { dtype: string; shape: readonly number[] }[]) {
  let end = 0;
  const entries = list.map(({ dtype, shape }, index) => {
    const start = end;
    end += shape.reduce((product, size) => product * size, SIZES[dtype] ?? 0);
    return [`t${index}`, { dtype, shape, data_offsets: [start, end] }] as const;
  });
  return { entries, bytes: end };
}

test("safetensors: every well-formed file is read", () => {
  fc.assert(
    fc.property(tensors, fc.dictionary(fc.string(), fc.string(), { maxKeys: 4 }), (list, metadata) => {
      const { entries, bytes } = build(list);
      const clean = Object.fromEntries(Object.entries(metadata).filter(([key]) => key !== "__proto__"));
      const header = JSON.stringify({ __metadata__: clean, ...Object.fromEntries(entries) });
      const read = readSafetensorsHeader(memorySource(safetensors(header, Buffer.alloc(bytes))));
      assert.equal(read.tensors.length, list.length);
      assert.deepEqual({ ...read.metadata }, clean);
    }),
  );
});

test("safetensors: a byte too many or too few is refused", () => {
  fc.assert(
    fc.property(tensors, fc.constantFrom(-1, 1), (list, change) => {
      const { entries, bytes } = build(list);
      const file = safetensors(JSON.stringify(Object.fromEntries(entries)), Buffer.alloc(Math.max(0, bytes + change)));
      if (bytes + change < 0) return;
      assert.throws(() => readSafetensorsHeader(memorySource(file)), { code: "HEADER_INVALID" });
    }),
  );
});

const one = (fields: string) => safetensors(`{"a":{${fields}}}`, Buffer.alloc(8));

test("safetensors: headers that lie", () => {
  const broken: Readonly<Record<string, Uint8Array>> = {
    "seven bytes": Buffer.alloc(7),
    "a length beyond the file": Buffer.concat([u64(1000), Buffer.from("{}")]),
    "a length of 2^63": Buffer.concat([u64(2n ** 63n), Buffer.from("{}")]),
    "a header over the limit": Buffer.concat([u64(ARTIFACT_LIMITS.safetensorsHeaderBytes + 1), Buffer.from("{}")]),
    "not JSON": safetensors("{nonsense"),
    "an array": safetensors("[]"),
    "white space first": safetensors(" {}"),
    "a tensor twice": safetensors(
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    ),
    "metadata that is no text": safetensors('{"__metadata__":{"a":1}}'),
    "metadata that is a list": safetensors('{"__metadata__":[]}'),
    "an unknown type": one('"dtype":"F31","shape":[2],"data_offsets":[0,8]'),
    "a type from the prototype": one('"dtype":"constructor","shape":[2],"data_offsets":[0,8]'),
    "a negative size": one('"dtype":"F32","shape":[-2],"data_offsets":[0,8]'),
    "a fraction": one('"dtype":"F32","shape":[1.5],"data_offsets":[0,6]'),
    "sizes that overflow": one(
      '"dtype":"F32","shape":[4294967296,4294967296,4294967296,4294967296],"data_offsets":[0,8]',
    ),
    "too many dimensions": one('"dtype":"U8","shape":[1,1,1,1,1,1,1,1,8],"data_offsets":[0,8]'),
    "offsets backwards": one('"dtype":"F32","shape":[2],"data_offsets":[8,0]'),
    "an extra member": one('"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1'),
    "a gap": safetensors('{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}', Buffer.alloc(8)),
    "an overlap": safetensors(
      '{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}',
      Buffer.alloc(8),
    ),
    "deep nesting": safetensors(`{"a":${"[".repeat(100_000)}`),
  };
  for (const [name, bytes] of Object.entries(broken)) {
    assert.throws(() => readSafetensorsHeader(memorySource(bytes)), { code: "HEADER_INVALID" }, name);
  }
});

test("GGUF: versions, values, tensors", () => {
  const file = gguf({
    texts: { "general.name": "x", "general.license": "mit" },
    tensors: [
      ["a", 0, [4], 0],
      ["b", 2, [32, 2], 32],
    ],
    data: 100,
  });
  const { metadata, tensors: read } = readGgufHeader(memorySource(file));
  assert.equal(metadata.get("general.license"), "mit");
  assert.deepEqual(
    read.map(({ start, end, type }) => [start, end, type]),
    [
      [0, 16, "F32"],
      [32, 68, "Q4_0"],
    ],
  );
});

test("GGUF: headers that lie", () => {
  const broken: Readonly<Record<string, Uint8Array>> = {
    "the magic alone": Buffer.from("GGUF"),
    "version 1": gguf({ version: 1 }),
    "the other byte order": gguf({ version: 0x03000000 }),
    "2^60 tensors": gguf({ tensorCount: 2n ** 60n }),
    "2^60 pairs": gguf({ pairCount: 2n ** 60n }),
    "more pairs than there are": gguf({ pairCount: 1n }),
    "a tensor twice": gguf({
      tensors: [
        ["a", 0, [0], 0],
        ["a", 0, [0], 0],
      ],
    }),
    "tensors over each other": gguf({
      tensors: [
        ["a", 0, [16], 0],
        ["b", 0, [16], 32],
      ],
      data: 200,
    }),
    "a tensor outside": gguf({ tensors: [["a", 0, [64], 0]], data: 100 }),
    "an offset off the grid": gguf({ tensors: [["a", 0, [1], 4]], data: 100 }),
    "an unknown type": gguf({ tensors: [["a", 99, [1], 0]], data: 100 }),
    "nine dimensions": gguf({ tensors: [["a", 0, [1, 1, 1, 1, 1, 1, 1, 1, 1], 0]], data: 100 }),
    "sizes that overflow": gguf({ tensors: [["a", 0, [2 ** 40, 2 ** 40], 0]], data: 100 }),
  };
  for (const [name, bytes] of Object.entries(broken)) {
    assert.throws(() => readGgufHeader(memorySource(bytes)), { code: "HEADER_INVALID" }, name);
  }
});

test("zip: what is written is read", () => {
  const entry = fc.record({
    name: fc.stringMatching(/^[a-z]{1,9}$/),
    data: fc.uint8Array({ maxLength: 300 }),
    deflate: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 6 }), fc.nat({ max: 50 }), (entries, prefix) => {
      const source = memorySource(Buffer.concat([Buffer.alloc(prefix), zip(entries)]));
      const { members, prefixBytes } = readZipDirectory(source);
      assert.equal(prefixBytes, prefix);
      assert.deepEqual(
        members.map(({ name }) => name),
        entries.map(({ name }) => name),
      );
      members.forEach((member, index) => {
        const content = openZipMember(source, member, 1000);
        assert.deepEqual(new Uint8Array(content.read(0, content.bytes)), entries[index]?.data);
      });
    }),
  );
});

test("zip: limits", () => {
  const source = memorySource(zip([{ name: "a", data: Buffer.alloc(1000), deflate: true }]));
  const [member] = readZipDirectory(source).members;
  assert.ok(member);
  assert.throws(() => openZipMember(source, member, 999), { code: "LIMIT_EXCEEDED" });
  assert.throws(() => openZipMember(source, { ...member, method: 12 }, 9999), { code: "HEADER_INVALID" });
  assert.throws(() => readZipDirectory(memorySource(Buffer.alloc(100))), { code: "HEADER_INVALID" });
  const many = memorySource(
    zip([
      { name: "a", data: safePickle },
      { name: "b", data: safePickle },
    ]),
  );
  assert.throws(() => readZipDirectory(many, 1), { code: "LIMIT_EXCEEDED" });
});

test("a cursor gives the same bytes whatever the window", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.integer({ min: 1, max: 40 })), (bytes, steps) => {
      const cursor = new Cursor(
        sliceSource(memorySource(Buffer.concat([Buffer.alloc(7), bytes])), 7, 7 + bytes.length),
      );
      for (const step of steps) {
        const at = cursor.position;
        if (step > cursor.left) assert.throws(() => cursor.take(step), { code: "HEADER_INVALID" });
        else if (step === 1) assert.equal(cursor.u8(), bytes[at]);
        else assert.deepEqual(new Uint8Array(cursor.take(step)), bytes.slice(at, at + step));
      }
    }),
  );
});

/** Changes, cuts and doubles bytes of a good file. */
function mutate(bytes: Uint8Array, random: () => number): Buffer {
  const out = Buffer.from(bytes);
  for (let count = 1 + (random() % 4); count > 0; count--) {
    if (out.length > 0) out[random() % out.length] = random() & 0xff;
  }
  return random() % 4 === 0 ? out.subarray(0, random() % (out.length + 1)) : out;
}

/** Marsaglia's xorshift, so that a failure can be repeated. */
function xorshift(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

test("fuzz: readers only ever refuse", () => {
  const seeds: readonly (readonly [Uint8Array, (source: ByteSource) => unknown])[] = [
    [
      safetensors('{"__metadata__":{"a":"b"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', Buffer.alloc(8)),
      readSafetensorsHeader,
    ],
    [gguf({ texts: { "general.name": "x" }, tensors: [["a", 0, [4], 0]], data: 32 }), readGgufHeader],
    [
      zip([
        { name: "a", data: safePickle, deflate: true },
        { name: "b", data: safePickle },
      ]),
      readWholeZip,
    ],
  ];
  const random = xorshift(20_260_723);
  const until = performance.now() + fuzzMs;
  let runs = 0;
  for (; performance.now() < until; runs++) {
    const [seed, read] = seeds[runs % seeds.length] ?? assert.fail();
    const bytes = mutate(seed, random);
    try {
      read(memorySource(bytes));
    } catch (error) {
      const { code } = error as { code?: string };
      assert.ok(code === "HEADER_INVALID" || code === "LIMIT_EXCEEDED", `${error}\n${bytes.toString("hex")}`);
    }
  }
  assert.ok(runs > 100);
});

function readWholeZip(source: ByteSource): void {
  for (const member of readZipDirectory(source).members) openZipMember(source, member, 1e6);
}
