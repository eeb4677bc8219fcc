/** Strict DER (X.690, clauses 8 and 10 to 11): bytes to a tree, nothing repaired. */
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";

export interface DerTag {
  readonly class: "universal" | "application" | "context" | "private";
  readonly number: number;
  readonly constructed: boolean;
}

export interface DerNode {
  readonly tag: DerTag;
  /** Where the value begins in the parsed bytes. */
  readonly offset: number;
  /** Identifier, length and content: a view, not a copy. */
  readonly raw: Uint8Array;
  readonly content: Uint8Array;
  /** Empty for a primitive value. */
  readonly children: readonly DerNode[];
}

export interface DerLimits {
  readonly maxBytes?: number;
  readonly maxDepth?: number;
  readonly maxNodes?: number;
}

/** Numbers of universal tags. */
export const DER_TAG = {
  boolean: 1,
  integer: 2,
  bitString: 3,
  octetString: 4,
  null: 5,
  oid: 6,
  enumerated: 10,
  utf8String: 12,
  sequence: 16,
  set: 17,
  numericString: 18,
  printableString: 19,
  teletexString: 20,
  ia5String: 22,
  utcTime: 23,
  generalizedTime: 24,
  visibleString: 26,
  bmpString: 30,
} as const;

const CLASSES = ["universal", "application", "context", "private"] as const;
const MAX_LENGTH_OCTETS = 4;
const MAX_TAG_OCTETS = 3;

export function derInvalid(place: DerNode | number, why: string) {
  const offset = typeof place === "number" ? place : place.offset;
  return codecError("DER_INVALID", { detail: `at byte ${offset}: ${why}` });
}

/** The one value that the bytes are, with nothing after it. Throws DER_INVALID with the offset. */
export function parseDer(bytes: Uint8Array, limits: DerLimits = {}): DerNode {
  const maxBytes = limits.maxBytes ?? CODEC_LIMITS.derBytes;
  if (bytes.length > maxBytes) throw derInvalid(0, `${bytes.length} bytes, at most ${maxBytes}`);
  const reader = new DerReader(bytes, limits);
  const root = reader.readValue(0, bytes.length, 0);
  const end = root.offset + root.raw.length;
  if (end !== bytes.length) throw derInvalid(end, "bytes after the value");
  return root;
}

class DerReader {
  readonly #bytes: Uint8Array;
  readonly #maxDepth: number;
  #nodesLeft: number;

  constructor(bytes: Uint8Array, limits: DerLimits) {
    this.#bytes = bytes;
    this.#maxDepth = limits.maxDepth ?? CODEC_LIMITS.derDepth;
    this.#nodesLeft = limits.maxNodes ?? CODEC_LIMITS.derNodes;
  }

  readValue(offset: number, end: number, depth: number): DerNode {
    if (depth >= this.#maxDepth) throw derInvalid(offset, `deeper than ${this.#maxDepth}`);
    if (--this.#nodesLeft < 0) throw derInvalid(offset, "too many values");
    const [tag, lengthAt] = this.#readTag(offset, end);
    const [length, contentAt] = this.#readLength(lengthAt, end);
    const after = contentAt + length;
    if (after > end) throw derInvalid(offset, "longer than what holds it");
    const children = tag.constructed ? this.#readChildren(contentAt, after, depth) : [];
    const raw = this.#bytes.subarray(offset, after);
    const node = { tag, offset, raw, content: this.#bytes.subarray(contentAt, after), children };
    checkUniversal(node);
    return node;
  }

  #readChildren(start: number, end: number, depth: number): DerNode[] {
    const children: DerNode[] = [];
    for (let offset = start; offset < end; ) {
      const child = this.readValue(offset, end, depth + 1);
      children.push(child);
      offset += child.raw.length;
    }
    return children;
  }

  #byte(offset: number, end: number): number {
    const byte = offset < end ? this.#bytes[offset] : undefined;
    if (byte === undefined) throw derInvalid(offset, "cut short");
    return byte;
  }

  #readTag(offset: number, end: number): [DerTag, number] {
    const first = this.#byte(offset, end);
    const tagClass = CLASSES[first >> 6] ?? "universal";
    const constructed = (first & 0x20) !== 0;
    if ((first & 0x1f) !== 0x1f) return [{ class: tagClass, number: first & 0x1f, constructed }, offset + 1];
    let number = 0;
    for (let at = offset + 1; at <= offset + MAX_TAG_OCTETS; at++) {
      const byte = this.#byte(at, end);
      if (at === offset + 1 && byte === 0x80) throw derInvalid(offset, "tag number is not minimal");
      number = number * 128 + (byte & 0x7f);
      if ((byte & 0x80) !== 0) continue;
      if (number < 0x1f) throw derInvalid(offset, "tag number is not minimal");
      return [{ class: tagClass, number, constructed }, at + 1];
    }
    throw derInvalid(offset, "tag number is too large");
  }

  #readLength(offset: number, end: number): [number, number] {
    const first = this.#byte(offset, end);
    if (first < 0x80) return [first, offset + 1];
    if (first === 0x80) throw derInvalid(offset, "indefinite length");
    const octets = first & 0x7f;
    if (octets > MAX_LENGTH_OCTETS) throw derInvalid(offset, "length is too large");
    let length = 0;
    for (let at = 1; at <= octets; at++) length = length * 256 + this.#byte(offset + at, end);
    if (length < 0x80 || length < 256 ** (octets - 1)) throw derInvalid(offset, "length is not minimal");
    return [length, offset + 1 + octets];
  }
}

const CONSTRUCTED = new Set<number>([DER_TAG.sequence, DER_TAG.set]);

/** What DER demands of the contents of universal types. */
function checkUniversal(node: DerNode): void {
  const { tag } = node;
  if (tag.class !== "universal") return;
  if (tag.number === 0) throw derInvalid(node, "end-of-contents");
  if (tag.constructed !== CONSTRUCTED.has(tag.number)) throw derInvalid(node, "constructed where DER has primitive");
  UNIVERSAL_CHECKS[tag.number]?.(node);
}

const UNIVERSAL_CHECKS: Readonly<Record<number, (node: DerNode) => void>> = {
  [DER_TAG.boolean]: checkBoolean,
  [DER_TAG.integer]: checkInteger,
  [DER_TAG.enumerated]: checkInteger,
  [DER_TAG.bitString]: checkBitString,
  [DER_TAG.null]: checkNull,
  [DER_TAG.oid]: checkOid,
  [DER_TAG.set]: checkSet,
};

function checkBoolean(node: DerNode): void {
  const [value] = node.content;
  if (node.content.length !== 1 || (value !== 0 && value !== 0xff)) throw derInvalid(node, "BOOLEAN is not 00 or FF");
}

function checkInteger(node: DerNode): void {
  const [first, second] = node.content;
  if (first === undefined) throw derInvalid(node, "INTEGER is empty");
  if (second === undefined) return;
  const wide = (first === 0 && second < 0x80) || (first === 0xff && second >= 0x80);
  if (wide) throw derInvalid(node, "INTEGER is not minimal");
}

function checkBitString(node: DerNode): void {
  const [unused] = node.content;
  if (unused === undefined || unused > 7) throw derInvalid(node, "BIT STRING has no count of unused bits");
  if (unused === 0) return;
  const last = node.content.length > 1 ? node.content.at(-1) : undefined;
  if (last === undefined || (last & ((1 << unused) - 1)) !== 0) throw derInvalid(node, "unused bits are not zero");
}

function checkNull(node: DerNode): void {
  if (node.content.length !== 0) throw derInvalid(node, "NULL is not empty");
}

function checkOid(node: DerNode): void {
  const { content } = node;
  let arcStart = 0;
  for (const [index, byte] of content.entries()) {
    if (index === arcStart && byte === 0x80) throw derInvalid(node, "OBJECT IDENTIFIER is not minimal");
    if (index - arcStart >= CODEC_LIMITS.oidArcOctets) throw derInvalid(node, "an arc is too large");
    if (byte < 0x80) arcStart = index + 1;
  }
  if (content.length === 0 || arcStart !== content.length) throw derInvalid(node, "OBJECT IDENTIFIER is cut short");
}

/** SET OF is ordered by its elements' encodings (X.690, clause 11.6). */
function checkSet(node: DerNode): void {
  for (let index = 1; index < node.children.length; index++) {
    const [before, after] = [node.children[index - 1], node.children[index]];
    if (before && after && Buffer.compare(before.raw, after.raw) > 0) throw derInvalid(after, "SET is not in order");
  }
}
