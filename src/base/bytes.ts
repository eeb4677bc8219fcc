/** Small functions over Uint8Array: join, compare, encode, read and write integers. */
import { timingSafeEqual } from "node:crypto";

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true });

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Decodes strict UTF-8; throws TypeError on an invalid sequence. A byte order mark is removed. */
export function fromUtf8(bytes: Uint8Array): string {
  return strictDecoder.decode(bytes);
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  const out = new Uint8Array(total);
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** Constant-time comparison; false when the lengths differ. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** Strict hex (both cases); undefined when the text is not hex of whole bytes. */
export function fromHex(text: string): Uint8Array | undefined {
  return text.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(text) ? new Uint8Array(Buffer.from(text, "hex")) : undefined;
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Strict standard base64 with padding (RFC 4648, section 4); undefined when it is not canonical. */
export function fromBase64(text: string): Uint8Array | undefined {
  const buffer = Buffer.from(text, "base64");
  return buffer.toString("base64") === text ? new Uint8Array(buffer) : undefined;
}

export function toBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

/** Strict base64url without padding (RFC 4648, section 5); undefined when it is not canonical. */
export function fromBase64Url(text: string): Uint8Array | undefined {
  const buffer = Buffer.from(text, "base64url");
  return buffer.toString("base64url") === text ? new Uint8Array(buffer) : undefined;
}

export function uint32be(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
}

export function uint64be(value: number | bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(value));
  return out;
}

/**
 * A copy outside of JavaScript's heap. Arrays of up to 64 bytes lie inside it otherwise, where the garbage collector
 * moves them and leaves what was there before: for keys.
 */
export function copySecret(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

/** Overwrites the bytes with zeros. Node may have copied them before; only guarded memory promises more. */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}
