/** Reads what an ONNX file says of itself: fields of ModelProto (onnx.proto3), its initializers' shapes, never their data. */
import { artifactError } from "../errors.ts";
import { FORMAT_LIMITS } from "./limits.ts";
import { type ByteSource, Cursor } from "./source.ts";

export interface OnnxTensor {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
}

export interface OnnxHeader {
  readonly irVersion: bigint;
  readonly producer: string;
  readonly producerVersion: string;
  readonly domain: string;
  readonly modelVersion: bigint;
  readonly graph: string;
  /** Domain and version, in the file's order; the domain of ONNX itself is "". */
  readonly operators: readonly (readonly [string, bigint])[];
  /** In the file's order. */
  readonly metadata: readonly (readonly [string, string])[];
  /** Initializers of the graph; those of graphs inside of nodes are not looked at. */
  readonly tensors: readonly OnnxTensor[];
}

/** TensorProto.DataType. */
const TYPES =
  "undefined float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32 uint64 complex64 complex128 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz uint4 int4 float4e2m1".split(
    " ",
  );

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

interface Field {
  readonly number: number;
  readonly wire: number;
  /** Of VARINT. */
  readonly value: bigint;
  /** Of BYTES: where they lie. */
  readonly start: number;
  readonly end: number;
}

/**
 * Whether a file of this name may be one: the format has no mark of its own, but every model begins with the number of
 * its version.
 */
export function looksLikeOnnx(name: string, source: ByteSource): boolean {
  return /\.onnx$/i.test(name) && source.read(0, 1)[0] === 0x08;
}

/** Throws HEADER_INVALID. */
export function readOnnxHeader(source: ByteSource): OnnxHeader {
  return new OnnxReader(source).read();
}

class OnnxReader {
  readonly #source: ByteSource;
  #fields = 0;
  #kept = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  read(): OnnxHeader {
    const [numbers, texts] = [new Map<number, bigint>(), new Map<number, string>()];
    const [operators, metadata]: [[string, bigint][], [string, string][]] = [[], []];
    let graph: { name: string; tensors: OnnxTensor[] } | undefined;
    for (const field of this.#each(0, this.#source.bytes)) {
      if (field.wire === VARINT) numbers.set(field.number, field.value);
      else if (field.wire !== BYTES) continue;
      else if (field.number === 7) graph = this.#graph(field);
      else if (field.number === 8) operators.push(this.#operator(field));
      else if (field.number === 14) metadata.push(this.#entry(field));
      else if (field.number >= 2 && field.number <= 4) texts.set(field.number, this.#text(field));
    }
    if (!graph) throw artifactError("HEADER_INVALID", { detail: "an ONNX model without a graph" });
    return {
      irVersion: numbers.get(1) ?? 0n,
      producer: texts.get(2) ?? "",
      producerVersion: texts.get(3) ?? "",
      domain: texts.get(4) ?? "",
      modelVersion: numbers.get(5) ?? 0n,
      graph: graph.name,
      operators,
      metadata,
      tensors: graph.tensors,
    };
  }

  #graph({ start, end }: Field): { name: string; tensors: OnnxTensor[] } {
    const graph = { name: "", tensors: [] as OnnxTensor[] };
    for (const field of this.#each(start, end)) {
      if (field.wire !== BYTES) continue;
      if (field.number === 2) graph.name = this.#text(field);
      if (field.number === 5) graph.tensors.push(this.#tensor(field));
    }
    return graph;
  }

  #tensor({ start, end }: Field): OnnxTensor {
    const shape: number[] = [];
    let [name, type] = ["", "undefined"];
    for (const field of this.#each(start, end)) {
      if (field.number === 1) shape.push(...this.#numbers(field));
      if (field.number === 2 && field.wire === VARINT) type = TYPES[Number(field.value)] ?? `type ${field.value}`;
      if (field.number === 8 && field.wire === BYTES) name = this.#text(field);
      if (shape.length > FORMAT_LIMITS.onnxDimensions)
        throw artifactError("HEADER_INVALID", {
          detail: `a tensor of over ${FORMAT_LIMITS.onnxDimensions} dimensions`,
        });
    }
    return { name, type, shape };
  }

  /** One number, or many that are packed. */
  #numbers(field: Field): number[] {
    if (field.wire === VARINT) return [checkedSize(field.value)];
    const cursor = new Cursor(this.#source, field.start, field.end);
    const numbers: number[] = [];
    while (cursor.left > 0 && numbers.length <= FORMAT_LIMITS.onnxDimensions) numbers.push(checkedSize(varint(cursor)));
    return numbers;
  }

  #operator({ start, end }: Field): [string, bigint] {
    const operator: [string, bigint] = ["", 0n];
    for (const field of this.#each(start, end)) {
      if (field.number === 1 && field.wire === BYTES) operator[0] = this.#text(field);
      if (field.number === 2 && field.wire === VARINT) operator[1] = field.value;
    }
    return operator;
  }

  #entry({ start, end }: Field): [string, string] {
    const entry: [string, string] = ["", ""];
    for (const field of this.#each(start, end))
      if (field.wire === BYTES && (field.number === 1 || field.number === 2))
        entry[field.number - 1] = this.#text(field);
    return entry;
  }

  #text({ start, end }: Field): string {
    this.#kept += end - start;
    if (this.#kept > FORMAT_LIMITS.onnxKeptBytes)
      throw artifactError("HEADER_INVALID", { detail: `over ${FORMAT_LIMITS.onnxKeptBytes} bytes of text` });
    return new TextDecoder().decode(this.#source.read(start, end - start));
  }

  *#each(start: number, end: number): Generator<Field> {
    const cursor = new Cursor(this.#source, start, end);
    while (cursor.left > 0) {
      if (++this.#fields > FORMAT_LIMITS.onnxFields)
        throw artifactError("HEADER_INVALID", { detail: `over ${FORMAT_LIMITS.onnxFields} fields` });
      yield readField(cursor);
    }
  }
}

function readField(cursor: Cursor): Field {
  const tag = varint(cursor);
  const wire = Number(tag & 7n);
  const number = Number(tag >> 3n);
  if (wire === VARINT) return { number, wire, value: varint(cursor), start: 0, end: 0 };
  if (wire !== BYTES && wire !== FIXED64 && wire !== FIXED32)
    throw artifactError("HEADER_INVALID", { detail: `wire type ${wire}` });
  const length = wire === BYTES ? varint(cursor) : wire === FIXED64 ? 8n : 4n;
  if (length > BigInt(cursor.left)) throw artifactError("HEADER_INVALID", { detail: "the file ends early" });
  const start = cursor.position;
  cursor.skip(Number(length));
  return { number, wire, value: 0n, start, end: cursor.position };
}

/** Base 128, at most ten bytes. */
function varint(cursor: Cursor): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = cursor.u8();
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return BigInt.asUintN(64, value);
  }
  throw artifactError("HEADER_INVALID", { detail: "a number of over ten bytes" });
}

function checkedSize(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw artifactError("HEADER_INVALID", { detail: `a dimension of ${value}` });
  return Number(value);
}
