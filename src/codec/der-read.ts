/** Readers of DER values: each takes a node, checks its type, and throws DER_INVALID with the offset. */
import { DER_TAG, type DerNode, derInvalid } from "./der.ts";

export function isUniversal(node: DerNode | undefined, number: number): node is DerNode {
  return node !== undefined && node.tag.class === "universal" && node.tag.number === number;
}

export function isContext(node: DerNode | undefined, number: number): node is DerNode {
  return node !== undefined && node.tag.class === "context" && node.tag.number === number;
}

function expect(node: DerNode, name: keyof typeof DER_TAG): DerNode {
  if (!isUniversal(node, DER_TAG[name])) throw derInvalid(node, `no ${name}`);
  return node;
}

/** INTEGER or ENUMERATED of any size, with its sign. */
export function derInteger(node: DerNode): bigint {
  if (!isUniversal(node, DER_TAG.enumerated)) expect(node, "integer");
  const hex = Buffer.from(node.content.buffer, node.content.byteOffset, node.content.length).toString("hex");
  return BigInt.asIntN(node.content.length * 8, BigInt(`0x${hex}`));
}

/** INTEGER or ENUMERATED from 0 to 2^53-1. */
export function derSmallInteger(node: DerNode): number {
  const value = node.content.length <= 8 ? derInteger(node) : -1n;
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw derInvalid(node, "number out of range");
  return Number(value);
}

export function derBoolean(node: DerNode): boolean {
  return expect(node, "boolean").content[0] === 0xff;
}

/** Dotted decimal. */
export function derOid(node: DerNode): string {
  const { content } = expect(node, "oid");
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of content) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte >= 0x80) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [joined = 0n, ...rest] = arcs;
  const first = joined < 80n ? joined / 40n : 2n;
  return [first, joined - first * 40n, ...rest].join(".");
}

export function derOctets(node: DerNode): Uint8Array {
  return expect(node, "octetString").content;
}

/** The bytes of a BIT STRING and how many bits of the last are unused. */
export function derBitString(node: DerNode): { readonly bytes: Uint8Array; readonly unusedBits: number } {
  const { content } = expect(node, "bitString");
  return { bytes: content.subarray(1), unusedBits: content[0] ?? 0 };
}

/** A BIT STRING of whole bytes. */
export function derBitBytes(node: DerNode): Uint8Array {
  const { bytes, unusedBits } = derBitString(node);
  if (unusedBits !== 0) throw derInvalid(node, "BIT STRING is not of whole bytes");
  return bytes;
}

/**
 * Numbers of the bits that are set, for a BIT STRING with named bits. Zeros at its end, which DER forbids (X.690,
 * clause 11.2.2), are taken: AMD's key usage has them, and they name nothing.
 */
export function derNamedBits(node: DerNode): number[] {
  const { bytes, unusedBits } = derBitString(node);
  const count = bytes.length * 8 - unusedBits;
  const found: number[] = [];
  for (let bit = 0; bit < count; bit++) if (((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0) found.push(bit);
  return found;
}

const TIMES = {
  [DER_TAG.utcTime]: /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/,
  [DER_TAG.generalizedTime]: /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/,
} as const;

/** Milliseconds since 1970 of UTCTime or GeneralizedTime, both with seconds and Z (RFC 5280, section 4.1.2.5). */
export function derTime(node: DerNode): number {
  const utc = isUniversal(node, DER_TAG.utcTime);
  const pattern = TIMES[utc ? DER_TAG.utcTime : DER_TAG.generalizedTime];
  const match = pattern.exec(Buffer.from(expect(node, utc ? "utcTime" : "generalizedTime").content).toString("latin1"));
  if (!match) throw derInvalid(node, "time is not in the form of DER");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const date = new Date(0);
  date.setUTCFullYear(utc ? year + (year < 50 ? 2000 : 1900) : year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const same = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour;
  if (!same || minute > 59 || second > 59) throw derInvalid(node, "there is no such time");
  return date.getTime();
}

const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf16Decoder = new TextDecoder("utf-16be", { fatal: true, ignoreBOM: true });
const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

const STRINGS: Readonly<Record<number, { decode: (bytes: Uint8Array) => string; allowed?: RegExp }>> = {
  [DER_TAG.utf8String]: { decode: (bytes) => utf8Decoder.decode(bytes) },
  [DER_TAG.bmpString]: { decode: (bytes) => utf16Decoder.decode(bytes) },
  [DER_TAG.printableString]: { decode: latin1, allowed: /^[A-Za-z0-9 '()+,\-./:=?]*$/ },
  [DER_TAG.numericString]: { decode: latin1, allowed: /^[0-9 ]*$/ },
  [DER_TAG.ia5String]: { decode: latin1, allowed: /^\p{ASCII}*$/u },
  [DER_TAG.visibleString]: { decode: latin1, allowed: /^[\x20-\x7e]*$/ },
  [DER_TAG.teletexString]: { decode: latin1, allowed: /^[\x20-\x7e]*$/ },
};

/** Text of any string type that names use; a NUL or a character that its type does not have is refused. */
export function derString(node: DerNode): string {
  const kind = node.tag.class === "universal" ? STRINGS[node.tag.number] : undefined;
  if (!kind) throw derInvalid(node, "no string");
  const text = attempt(() => kind.decode(node.content));
  if (text === undefined || text.includes("\0") || kind.allowed?.test(text) === false)
    throw derInvalid(node, "a character that this string cannot hold");
  return text;
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** The elements of a SEQUENCE. */
export function derSequence(node: DerNode): readonly DerNode[] {
  return expect(node, "sequence").children;
}

/** The elements of a SET. */
export function derSet(node: DerNode): readonly DerNode[] {
  return expect(node, "set").children;
}

/** The one value inside of an EXPLICIT tag. */
export function derInner(node: DerNode): DerNode {
  const [inner, ...more] = node.children;
  if (!inner || more.length > 0) throw derInvalid(node, "no single value inside");
  return inner;
}

/** Takes the elements of a SEQUENCE one after the other; `end` refuses what is left. */
export class DerFields {
  readonly #node: DerNode;
  readonly #nodes: readonly DerNode[];
  #next = 0;

  constructor(node: DerNode) {
    this.#node = node;
    this.#nodes = derSequence(node);
  }

  take(): DerNode {
    const node = this.#nodes[this.#next++];
    if (!node) throw derInvalid(this.#node, "a field is missing");
    return node;
  }

  /** The next element when `is` says so. */
  takeIf(is: (node: DerNode) => boolean): DerNode | undefined {
    const node = this.#nodes[this.#next];
    return node && is(node) ? this.take() : undefined;
  }

  /** The next element when it has this universal tag. */
  takeUniversal(number: number): DerNode | undefined {
    return this.takeIf((node) => isUniversal(node, number));
  }

  /** The next element when it is tagged [number]. */
  takeContext(number: number): DerNode | undefined {
    return this.takeIf((node) => isContext(node, number));
  }

  end(): void {
    const extra = this.#nodes[this.#next];
    if (extra) throw derInvalid(extra, "a field too many");
  }
}
