/** Reads and checks the header of a GGUF file, versions 2 and 3, never its tensors. */
import { artifactError } from "../errors.ts";
import { ARTIFACT_LIMITS } from "../limits.ts";
import { ggmlTypeOf } from "./ggml-types.ts";
import { FORMAT_LIMITS } from "./limits.ts";
import { type ByteSource, Cursor } from "./source.ts";

export type GgufValue = number | bigint | boolean | string | GgufArray;

export interface GgufArray {
  readonly length: number;
  /** The first items only: at most FORMAT_LIMITS.ggufKeptItems. */
  readonly items: readonly GgufValue[];
}

export interface GgufTensor {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  /** Offset into the data, in bytes. */
  readonly start: number;
  readonly end: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
  readonly dataStart: number;
}

const MAGIC = 0x46554747;
const STRING = 8;
const ARRAY = 9;
/** Bytes of the fixed types (GGUF, gguf_metadata_value_type). */
const FIXED_BYTES: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const DEFAULT_ALIGNMENT = 32;
/** The smallest entries that the format can hold: they bound a count by the file's length. */
const MIN_PAIR_BYTES = 13;
const MIN_TENSOR_BYTES = 24;

export function looksLikeGguf(source: ByteSource): boolean {
  const head = source.read(0, 4);
  return head.length === 4 && new DataView(head.buffer, head.byteOffset).getUint32(0, true) === MAGIC;
}

/** Checks counts and lengths against the file, keys and tensors for doubles and overlap. Throws HEADER_INVALID. */
export function readGgufHeader(source: ByteSource): GgufHeader {
  const cursor = new Cursor(source, 0, ARTIFACT_LIMITS.ggufHeaderBytes);
  if (cursor.u32() !== MAGIC) throw invalid("the magic is missing");
  const version = cursor.u32();
  if (version !== 2 && version !== 3) throw invalid(`version ${version}`);
  const tensorCount = readCount(cursor, ARTIFACT_LIMITS.ggufTensors, MIN_TENSOR_BYTES, "tensor count");
  const pairCount = readCount(cursor, ARTIFACT_LIMITS.ggufMetadataPairs, MIN_PAIR_BYTES, "pair count");
  const metadata = new Reader(cursor).pairs(pairCount);
  const alignment = readAlignment(metadata.get("general.alignment"));
  const tensors = readTensors(cursor, tensorCount, alignment);
  const dataStart = tensorCount === 0 ? cursor.position : Math.ceil(cursor.position / alignment) * alignment;
  checkTensors(tensors, source.bytes - dataStart);
  return { version, metadata, tensors, dataStart };
}

/** A count that the rest of the file has room for. */
function readCount(cursor: Cursor, max: number, entryBytes: number, what: string): number {
  return cursor.length(Math.min(max, Math.floor(cursor.left / entryBytes)), what);
}

function readAlignment(value: GgufValue | undefined): number {
  if (value === undefined) return DEFAULT_ALIGNMENT;
  const fits = typeof value === "number" && value >= 1 && value <= 1 << 20 && (value & (value - 1)) === 0;
  if (!fits) throw invalid("general.alignment is no power of two");
  return value;
}

/** Metadata values; arrays and text are kept up to a limit and read over beyond it. */
class Reader {
  readonly #cursor: Cursor;
  #keptBytes = 0;
  #items = 0;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  pairs(count: number): Map<string, GgufValue> {
    const metadata = new Map<string, GgufValue>();
    for (let index = 0; index < count; index++) {
      const key = readText(this.#cursor, 65_535, "key");
      if (metadata.has(key)) throw invalid(`the key ${key.slice(0, 80)} is there twice`);
      metadata.set(key, this.#value(this.#cursor.u32(), 0));
    }
    return metadata;
  }

  #value(type: number, depth: number): GgufValue {
    if (type === STRING) return this.#text();
    if (type === ARRAY) return this.#array(depth + 1);
    return this.#scalar(type);
  }

  #text(): string {
    const text = readText(this.#cursor, ARTIFACT_LIMITS.ggufStringBytes, "text");
    this.#keptBytes += text.length;
    if (this.#keptBytes > FORMAT_LIMITS.ggufKeptBytes) throw invalid("the metadata holds too much text");
    return text;
  }

  #array(depth: number): GgufArray {
    if (depth > FORMAT_LIMITS.ggufArrayDepth) throw invalid("arrays are nested too deep");
    const type = this.#cursor.u32();
    const length = this.#cursor.length(ARTIFACT_LIMITS.ggufArrayItems, "array length");
    this.#items += length;
    if (this.#items > ARTIFACT_LIMITS.ggufArrayItems) throw invalid("the arrays hold too many items");
    const kept = Math.min(length, FORMAT_LIMITS.ggufKeptItems);
    const items = Array.from({ length: kept }, () => this.#value(type, depth));
    this.#skip(type, length - kept, depth);
    return { length, items };
  }

  #skip(type: number, count: number, depth: number): void {
    const size = FIXED_BYTES[type];
    if (size !== undefined) this.#cursor.skip(size * count);
    else if (type === STRING) {
      for (let index = 0; index < count; index++) {
        this.#cursor.skip(this.#cursor.length(ARTIFACT_LIMITS.ggufStringBytes, "text length"));
      }
    } else for (let index = 0; index < count; index++) this.#value(type, depth);
  }

  #scalar(type: number): GgufValue {
    const cursor = this.#cursor;
    switch (type) {
      case 0:
        return cursor.u8();
      case 1:
        return (cursor.u8() << 24) >> 24;
      case 2:
        return cursor.u16();
      case 3:
        return (cursor.u16() << 16) >> 16;
      case 4:
        return cursor.u32();
      case 5:
        return cursor.i32();
      case 6:
        return cursor.f32();
      case 7:
        return readBool(cursor);
      case 10:
        return cursor.u64();
      case 11:
        return cursor.i64();
      case 12:
        return cursor.f64();
      default:
        throw invalid(`value type ${type}`);
    }
  }
}

function readBool(cursor: Cursor): boolean {
  const value = cursor.u8();
  if (value > 1) throw invalid("a truth value is neither 0 nor 1");
  return value === 1;
}

function readText(cursor: Cursor, maxBytes: number, what: string): string {
  return Buffer.from(cursor.take(cursor.length(maxBytes, `${what} length`))).toString("utf8");
}

function readTensors(cursor: Cursor, count: number, alignment: number): GgufTensor[] {
  const names = new Set<string>();
  return Array.from({ length: count }, () => {
    const tensor = readTensor(cursor, alignment);
    if (names.has(tensor.name)) throw invalid(`the tensor ${tensor.name.slice(0, 80)} is there twice`);
    names.add(tensor.name);
    return tensor;
  });
}

function readTensor(cursor: Cursor, alignment: number): GgufTensor {
  const name = readText(cursor, 65_535, "tensor name");
  const dimensions = cursor.u32();
  if (dimensions > FORMAT_LIMITS.tensorDimensions)
    throw invalid(`tensor ${name.slice(0, 80)} has ${dimensions} dimensions`);
  const shape = Array.from({ length: dimensions }, () => cursor.length(Number.MAX_SAFE_INTEGER, "dimension"));
  const type = ggmlTypeOf(cursor.u32());
  if (!type) throw invalid(`tensor ${name.slice(0, 80)} has an unknown type`);
  const start = cursor.length(Number.MAX_SAFE_INTEGER, "tensor offset");
  if (start % alignment !== 0) throw invalid(`tensor ${name.slice(0, 80)} is not aligned`);
  const elements = shape.reduce((product, size) => product * BigInt(size), 1n);
  const bytes = (elements / BigInt(type.blockElements)) * BigInt(type.blockBytes);
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(`tensor ${name.slice(0, 80)} is too large`);
  return { name, type: type.name, shape, start, end: start + Number(bytes) };
}

function checkTensors(tensors: readonly GgufTensor[], dataBytes: number): void {
  let end = 0;
  for (const tensor of [...tensors].sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (tensor.start < end) throw invalid(`tensor ${tensor.name.slice(0, 80)} overlaps another`);
    end = tensor.end;
  }
  if (end > dataBytes) throw invalid("a tensor lies outside the file");
}

function invalid(detail: string) {
  return artifactError("HEADER_INVALID", { detail: `GGUF: ${detail}` });
}
