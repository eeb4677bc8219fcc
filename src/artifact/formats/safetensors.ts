/** Reads and checks the header of a safetensors file, never its tensors. */
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { artifactError } from "../errors.ts";
import { ARTIFACT_LIMITS } from "../limits.ts";
import { FORMAT_LIMITS } from "./limits.ts";
import type { ByteSource } from "./source.ts";

export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Offsets into the data that follows the header, in bytes. */
  readonly start: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** In order of offset. */
  readonly tensors: readonly SafetensorsTensor[];
  /** Where the data begins in the file. */
  readonly dataStart: number;
}

/** Bits of an element (safetensors, tensor.rs, Dtype). */
const DTYPE_BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

const PREFIX_BYTES = 8;

/** True when the first nine bytes look like the length of a header and its opening brace. */
export function looksLikeSafetensors(source: ByteSource): boolean {
  const head = source.read(0, PREFIX_BYTES + 1);
  if (head.length <= PREFIX_BYTES || head[PREFIX_BYTES] !== 0x7b) return false;
  return headerLength(head) <= ARTIFACT_LIMITS.safetensorsHeaderBytes;
}

/**
 * Length, JSON, types, shapes and offsets are checked as the format's own reader does: no gap, no overlap, no byte left.
 * Throws HEADER_INVALID.
 */
export function readSafetensorsHeader(source: ByteSource): SafetensorsHeader {
  const prefix = source.read(0, PREFIX_BYTES);
  if (prefix.length < PREFIX_BYTES) throw invalid("the file has less than 8 bytes");
  const length = headerLength(prefix);
  if (length > ARTIFACT_LIMITS.safetensorsHeaderBytes) throw invalid(`a header of ${length} bytes`);
  const dataStart = PREFIX_BYTES + length;
  if (dataStart > source.bytes) throw invalid("the header is longer than the file");
  const { __metadata__: metadata, ...entries } = parseHeader(source.read(PREFIX_BYTES, length));
  const names = Object.keys(entries);
  if (names.length > ARTIFACT_LIMITS.safetensorsTensors) throw invalid(`${names.length} tensors`);
  const tensors = names
    .map((name) => readTensor(name, entries[name]))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  checkContiguous(tensors, source.bytes - dataStart);
  return { metadata: readMetadata(metadata), tensors, dataStart };
}

function headerLength(prefix: Uint8Array): number {
  return Number(new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getBigUint64(0, true));
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  if (bytes[0] !== 0x7b) throw invalid("the header does not begin with a brace");
  let quotes = 0;
  for (const byte of bytes) if (byte === 0x22) quotes++;
  if (quotes > FORMAT_LIMITS.safetensorsHeaderQuotes) throw invalid("the header holds too many strings");
  try {
    const parsed = parseJson(bytes, { maxBytes: ARTIFACT_LIMITS.safetensorsHeaderBytes, maxDepth: 4 });
    return Object.assign(Object.create(null), parsed);
  } catch (error) {
    throw invalid(error instanceof ModelkeepError ? error.message : "the header is not JSON");
  }
}

function readMetadata(value: unknown): Record<string, string> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("__metadata__ is no object");
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw invalid(`__metadata__ ${key.slice(0, 80)} is no text`);
  }
  return value as Record<string, string>;
}

function readTensor(name: string, value: unknown): SafetensorsTensor {
  const what = name.slice(0, 80);
  if (typeof value !== "object" || value === null || Object.keys(value).length !== 3) throw invalid(`tensor ${what}`);
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BITS, dtype))
    throw invalid(`tensor ${what} has an unknown type`);
  if (!isNaturals(shape) || shape.length > FORMAT_LIMITS.tensorDimensions) throw invalid(`the shape of tensor ${what}`);
  if (!isNaturals(offsets) || offsets.length !== 2) throw invalid(`the offsets of tensor ${what}`);
  const [start = 0, end = 0] = offsets;
  const bits = shape.reduce((product, size) => product * BigInt(size), BigInt(DTYPE_BITS[dtype] ?? 0));
  if (bits !== BigInt(end - start) * 8n) throw invalid(`tensor ${what} does not fill its offsets`);
  return { name, dtype, shape, start, end };
}

function isNaturals(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function checkContiguous(tensors: readonly SafetensorsTensor[], dataBytes: number): void {
  let end = 0;
  for (const tensor of tensors) {
    if (tensor.start !== end) throw invalid(`a gap or an overlap before tensor ${tensor.name.slice(0, 80)}`);
    end = tensor.end;
  }
  if (end !== dataBytes) throw invalid(`the tensors cover ${end} of ${dataBytes} bytes`);
}

function invalid(detail: string) {
  return artifactError("HEADER_INVALID", { detail: `safetensors: ${detail}` });
}
