/** ONNX files: what the onnx package writes is read, what lies is refused, nothing costs more than the file. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { FORMAT_LIMITS, looksLikeOnnx, memorySource, readOnnxHeader } from "../../src/artifact/index.ts";
import { gatherModelFacts } from "../../src/bom/models/facts.ts";
import { codeOf, temporaryFolder } from "../sealing/support.ts";

/** Made with onnx 1.23.2: one Gemm, weights of 3 x 4 float32 and 4 float16, a scalar int64; checked by its checker. */
const MADE = Buffer.from(
  `CAoSDWtlZXBlci1leHBvcnQaAzIuMSILb3JnLmV4YW1wbGUoBzIBZDqcAQoSCgF4CgF3CgFiEgF5IgRHZW1tEgZrZWVwZXIqOwgDCAQQAUIBd0owAACA
PwAAgD8AAIA/AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/Kg0IBBAKKgQAAAAAQgFiKggQBzoBB0IBZVoTCgF4Eg4KDAgBEggKAggB
CgIIA2ITCgF5Eg4KDAgBEggKAggBCgIIBEIECgAQFUIRCg1jb20ubWljcm9zb2Z0EAFyFQoHbGljZW5zZRIKYXBhY2hlLTIuMHIWCgxnZW5lcmFsLm5h
bWUSBktlZXBlcg==`,
  "base64",
);

const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
const field = (number: number, bytes: readonly number[]) => [
  ...varint(number * 8 + 2),
  ...varint(bytes.length),
  ...bytes,
];
const model = (...parts: readonly (readonly number[])[]) => memorySource(Uint8Array.from([0x08, 10, ...parts.flat()]));
const refused = (source: ReturnType<typeof model>) => codeOf(async () => readOnnxHeader(source));

test("a model of the onnx package: producer, operators, metadata, tensors", () => {
  assert.ok(looksLikeOnnx("a/Model.ONNX", memorySource(MADE)) && !looksLikeOnnx("model.bin", memorySource(MADE)));
  assert.deepEqual(readOnnxHeader(memorySource(MADE)), {
    irVersion: 10n,
    producer: "keeper-export",
    producerVersion: "2.1",
    domain: "org.example",
    modelVersion: 7n,
    graph: "keeper",
    operators: [
      ["", 21n],
      ["com.microsoft", 1n],
    ],
    metadata: [
      ["license", "apache-2.0"],
      ["general.name", "Keeper"],
    ],
    tensors: [
      { name: "w", type: "float32", shape: [3, 4] },
      { name: "b", type: "float16", shape: [4] },
      { name: "e", type: "int64", shape: [] },
    ],
  });
});

test("the inventory counts its parameters, and says when it cannot be read", async () => {
  const root = temporaryFolder();
  writeFileSync(join(root, "model.onnx"), MADE);
  writeFileSync(join(root, "broken.onnx"), MADE.subarray(0, 90));
  const [broken, whole] = (await gatherModelFacts({ root })).files.map(({ weights }) => weights);
  assert.deepEqual([broken?.format, broken?.valid], ["onnx", false]);
  assert.deepEqual([whole?.valid, whole?.parameters, whole?.types], [true, 17n, ["float16", "float32", "int64"]]);
  assert.ok(whole?.metadata.some(([key, value]) => key === "opset" && value === "com.microsoft 1"));
});

test("what lies about lengths, sizes and kinds of fields is refused", async () => {
  const tensor = (...bytes: number[]) => model(field(7, field(5, bytes)));
  const lies: [string, ReturnType<typeof model>][] = [
    ["no graph", model(field(2, [65]))],
    ["a group", model([0x3b])],
    ["a length beyond the end", model([0x3a, 0xff, 0xff, 0xff, 0x7f])],
    ["a number without an end", model([0x28, ...Array<number>(10).fill(0xff), 1])],
    ["a dimension beyond 2^53", tensor(0x08, ...Array<number>(9).fill(0xff), 1)],
    [
      "very many dimensions",
      tensor(
        ...Array<number>(FORMAT_LIMITS.onnxDimensions + 1)
          .fill(0)
          .flatMap(() => [8, 1]),
      ),
    ],
    ["very many packed dimensions", tensor(...field(1, Array<number>(5_000).fill(1)))],
  ];
  for (const [what, source] of lies) assert.equal(await refused(source), "HEADER_INVALID", what);
});

test("more fields than any model has end it", async () => {
  const fields = Uint8Array.from({ length: (FORMAT_LIMITS.onnxFields + 1) * 2 }, (_, at) => (at % 2 ? 0 : 0x28));
  assert.equal(await refused(memorySource(fields)), "HEADER_INVALID");
});

test("any damage of a model, and any bytes, are read or refused", () => {
  const safe = (bytes: Uint8Array) => {
    try {
      readOnnxHeader(memorySource(bytes));
    } catch (error) {
      assert.equal((error as { code?: string }).code, "HEADER_INVALID");
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), safe));
  fc.assert(
    fc.property(fc.nat(MADE.length - 1), fc.nat(255), (at, value) => {
      const damaged = Uint8Array.from(MADE);
      damaged[at] = value;
      safe(damaged);
      safe(damaged.subarray(0, at));
    }),
    { numRuns: 500 },
  );
});
