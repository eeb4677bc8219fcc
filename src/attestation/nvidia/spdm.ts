/** The SPDM 1.1 measurement exchange of an NVIDIA device: strict reader, every place found by the lengths in it. */
import { evidenceRefused } from "../errors.ts";
import { NVIDIA_LIMITS } from "./limits.ts";
import { type OpaqueData, parseOpaque } from "./opaque.ts";

const REQUEST_BYTES = 37;
const RESPONSE_HEADER_BYTES = 8;
const BLOCK_HEADER_BYTES = 4;
const VALUE_HEADER_BYTES = 3;
const SIGNATURE_BYTES = 96;
const SPDM_1_1 = 0x11;
const GET_MEASUREMENTS = 0xe0;
const MEASUREMENTS = 0x60;
const DMTF = 1;
const RAW_VALUE = 0x80;

/** A SHA-384 digest. */
export const MEASUREMENT_BYTES = 48;

export interface SpdmReport {
  /** 32 bytes that the verifier chose. */
  readonly nonce: Uint8Array;
  /** 32 bytes that the device chose. */
  readonly responderNonce: Uint8Array;
  /** By block index, which counts from 1; 48 bytes each. */
  readonly measurements: ReadonlyMap<number, Uint8Array>;
  /** Length of the measurement record, in bytes. */
  readonly recordBytes: number;
  readonly opaqueBytes: number;
  readonly opaque: OpaqueData;
  /** Request and response without the signature. */
  readonly signed: Uint8Array;
  /** r and s, big-endian, 48 bytes each. */
  readonly signature: Uint8Array;
  /** Bytes behind the signature: not signed, never read. */
  readonly trailingBytes: number;
}

/** DSP0274 1.1, 10.11. Throws EVIDENCE_REFUSED `nvidia.report.format` with the place in the cause. */
export function parseSpdmReport(bytes: Uint8Array): SpdmReport {
  if (bytes.length > NVIDIA_LIMITS.reportBytes) throw malformed(`${bytes.length} bytes`);
  const reader = new Reader(bytes);
  const nonce = readRequest(reader);
  const { measurements, recordBytes } = readRecord(reader);
  const responderNonce = reader.take(NVIDIA_LIMITS.nonceBytes, "responder nonce");
  const opaqueBytes = reader.number(2, "opaque length");
  const opaque = parseOpaque(reader.take(opaqueBytes, "opaque data"));
  const signed = bytes.subarray(0, reader.offset);
  const signature = reader.take(SIGNATURE_BYTES, "signature");
  const trailingBytes = bytes.length - reader.offset;
  if (trailingBytes > NVIDIA_LIMITS.trailingBytes) throw malformed(`${trailingBytes} bytes behind the signature`);
  return {
    ...{ nonce, responderNonce, measurements, recordBytes, opaqueBytes, opaque },
    ...{ signed, signature, trailingBytes },
  };
}

function readRequest(reader: Reader): Uint8Array {
  const [version, code, signatureRequested, operation] = reader.take(4, "request");
  if (version !== SPDM_1_1 || code !== GET_MEASUREMENTS) throw malformed("not a request for measurements");
  if (signatureRequested !== 1 || operation !== 0xff) throw malformed("not a request for all measurements, signed");
  const nonce = reader.take(NVIDIA_LIMITS.nonceBytes, "nonce");
  if (reader.number(1, "slot") !== 0) throw malformed("a slot other than 0");
  if (reader.offset !== REQUEST_BYTES) throw malformed("request length");
  return nonce;
}

function readRecord(reader: Reader): Pick<SpdmReport, "measurements" | "recordBytes"> {
  const [version, code, , slot = 0xff] = reader.take(4, "response");
  if (version !== SPDM_1_1 || code !== MEASUREMENTS) throw malformed("not a response with measurements");
  if ((slot & 0x0f) !== 0) throw malformed("a slot other than 0");
  const blocks = reader.number(1, "number of blocks");
  const recordBytes = reader.number(3, "record length");
  if (reader.offset !== REQUEST_BYTES + RESPONSE_HEADER_BYTES) throw malformed("response length");
  const record = new Reader(reader.take(recordBytes, "measurement record"));
  const measurements = new Map<number, Uint8Array>();
  let last = 0;
  for (let i = 0; i < blocks; i++) {
    const { index, value } = readBlock(record);
    if (index <= last) throw malformed(`block ${index} after block ${last}`);
    measurements.set(index, value);
    last = index;
  }
  if (blocks === 0 || record.left !== 0) throw malformed("the record and its number of blocks differ");
  return { measurements, recordBytes };
}

function readBlock(record: Reader): { readonly index: number; readonly value: Uint8Array } {
  const index = record.number(1, "block index");
  if (record.number(1, "block specification") !== DMTF) throw malformed(`block ${index} is not of DMTF`);
  const size = record.number(2, "block size");
  const valueType = record.number(1, "value type");
  const valueSize = record.number(2, "value size");
  if ((valueType & RAW_VALUE) !== 0) throw malformed(`block ${index} is not a digest`);
  if (valueSize !== MEASUREMENT_BYTES || size !== valueSize + VALUE_HEADER_BYTES) {
    throw malformed(`block ${index} of ${size - VALUE_HEADER_BYTES + BLOCK_HEADER_BYTES} bytes`);
  }
  return { index, value: record.take(valueSize, "block value") };
}

/** Reads forward and never beyond the end. */
class Reader {
  readonly #bytes: Uint8Array;
  offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.offset;
  }

  take(length: number, what: string): Uint8Array {
    if (length > this.left) throw malformed(`ends inside the ${what}`);
    this.offset += length;
    return this.#bytes.subarray(this.offset - length, this.offset);
  }

  /** Little-endian. */
  number(length: number, what: string): number {
    return this.take(length, what).reduceRight((sum, byte) => sum * 256 + byte, 0);
  }
}

function malformed(place: string): Error {
  return evidenceRefused("nvidia.report.format", new Error(place));
}
