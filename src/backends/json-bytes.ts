/** Values cut out of JSON as bytes, escapes undone: a secret in a document is never a string, which nobody could wipe. */
import { copySecret, equalBytes, utf8 } from "../base/index.ts";
import { backendError } from "./errors.ts";

const [QUOTE, BACKSLASH, STAR, COMMA, COLON] = [0x22, 0x5c, 0x2a, 0x2c, 0x3a];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];
const [ZERO, ONE, LETTER_U] = [0x30, 0x31, 0x75];
const DEPTH = 32;
const ESCAPES: Readonly<Record<number, number>> = Object.fromEntries(
  [...'"\\/']
    .map((c) => [c.charCodeAt(0), c.charCodeAt(0)])
    .concat([...Object.entries({ b: 8, f: 12, n: 10, r: 13, t: 9 })].map(([c, byte]) => [c.charCodeAt(0), byte])),
);
const WORDS = ["true", "false", "null"].map(utf8);

interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * The value at a path of members: a string without its quotes and escapes, else the JSON text itself; undefined when it
 * is not there or null. It is blotted out in the text, which still is JSON. The caller wipes it. Throws
 * KMS_ANSWER_INVALID for what is not one JSON document, and for a name that an object on the way has twice.
 */
export function takeMember(text: Uint8Array, path: readonly string[]): Uint8Array | undefined {
  try {
    const span = new Scanner(text).find(path.map(utf8));
    if (!span || text[span.start] === "n".charCodeAt(0)) return undefined;
    const value = text.subarray(span.start, span.end);
    const taken = value[0] === QUOTE ? unescaped(value.subarray(1, -1)) : copySecret(value);
    blot(value);
    return taken;
  } catch (error) {
    text.fill(STAR);
    throw error;
  }
}

/**
 * Every member of an object, as `takeMember` takes it; nulls are left out. The caller wipes the values, and what is left
 * of the text. Throws KMS_ANSWER_INVALID also for more than `most` members.
 */
export function takeMembers(text: Uint8Array, most: number): { readonly name: string; readonly value: Uint8Array }[] {
  const names = new Scanner(text).names();
  if (names.length > most) throw backendError("KMS_ANSWER_INVALID", { detail: `over ${most} members` });
  return names.flatMap((name) => {
    const value = takeMember(text, [name]);
    return value ? [{ name, value }] : [];
  });
}

/** Strings and what holds others become a string of stars, numbers become ones; words stay. */
function blot(value: Uint8Array): void {
  const first = value[0] ?? 0;
  const holds = first === QUOTE || first === OPEN_OBJECT || first === OPEN_ARRAY;
  if (holds) value.fill(STAR).fill(QUOTE, 0, 1).fill(QUOTE, -1);
  else if (!WORDS.some((word) => equalBytes(word, value))) value.fill(ONE);
}

function invalid(): Error {
  return backendError("KMS_ANSWER_INVALID", { detail: "it is not JSON" });
}

class Scanner {
  readonly #text: Uint8Array;
  readonly #names: string[] = [];
  #at = 0;

  constructor(text: Uint8Array) {
    this.#text = text;
  }

  find(path: readonly Uint8Array[]): Span | undefined {
    const found = this.#value(path, 0);
    this.#space();
    if (this.#at !== this.#text.length) throw invalid();
    return found;
  }

  /** Of the members of the document itself. */
  names(): readonly string[] {
    this.find([]);
    return this.#names;
  }

  /** Goes past the value; returns the part of it that the path names. */
  #value(path: readonly Uint8Array[] | undefined, depth: number): Span | undefined {
    if (depth > DEPTH) throw invalid();
    this.#space();
    const start = this.#at;
    const byte = this.#text[start];
    const inner = path && path.length > 0 ? path : undefined;
    let found: Span | undefined;
    if (byte === OPEN_OBJECT) found = this.#object(inner, depth);
    else if (byte === OPEN_ARRAY) this.#array(depth);
    else if (byte === QUOTE) this.#string();
    else this.#word();
    return path?.length === 0 ? { start, end: this.#at } : found;
  }

  #object(path: readonly Uint8Array[] | undefined, depth: number): Span | undefined {
    let [seen, found]: [boolean, Span | undefined] = [false, undefined];
    this.#members(CLOSE_OBJECT, () => {
      if (this.#text[this.#at] !== QUOTE) throw invalid();
      const name = this.#string();
      if (depth === 0) this.#names.push(Buffer.from(unescaped(name)).toString());
      this.#expect(COLON);
      const wanted = path?.[0] !== undefined && equalBytes(unescaped(name), path[0]);
      if (wanted && seen) throw invalid();
      const inside = this.#value(wanted ? path?.slice(1) : undefined, depth + 1);
      if (wanted) [seen, found] = [true, inside];
    });
    return found;
  }

  #array(depth: number): void {
    this.#members(CLOSE_ARRAY, () => void this.#value(undefined, depth + 1));
  }

  #members(close: number, one: () => void): void {
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === close) {
      this.#at++;
      return;
    }
    for (;;) {
      this.#space();
      one();
      this.#space();
      const byte = this.#text[this.#at++];
      if (byte === close) return;
      if (byte !== COMMA) throw invalid();
    }
  }

  /** What is between the quotes. */
  #string(): Uint8Array {
    const start = ++this.#at;
    for (; this.#text[this.#at] !== QUOTE; this.#at++) {
      const byte = this.#text[this.#at];
      if (byte === undefined || byte < 0x20) throw invalid();
      if (byte === BACKSLASH) this.#at++;
    }
    return this.#text.subarray(start, this.#at++);
  }

  #word(): void {
    const start = this.#at;
    while (/[-+.0-9A-Za-z]/.test(String.fromCharCode(this.#text[this.#at] ?? 0))) this.#at++;
    const value = this.#text.subarray(start, this.#at);
    const isNumber = value.length > 0 && value.every((byte) => /[-+.0-9eE]/.test(String.fromCharCode(byte)));
    if (!isNumber && !WORDS.some((word) => equalBytes(word, value))) throw invalid();
  }

  #expect(byte: number): void {
    this.#space();
    if (this.#text[this.#at++] !== byte) throw invalid();
  }

  #space(): void {
    while ([0x20, 0x09, 0x0a, 0x0d].includes(this.#text[this.#at] ?? 0)) this.#at++;
  }
}

/** RFC 8259, section 7; a lone surrogate has no bytes. */
function unescaped(text: Uint8Array): Uint8Array {
  const room = copySecret(text);
  let to = 0;
  try {
    for (let at = 0; at < text.length; ) {
      const next = text[at] === BACKSLASH ? text[at + 1] : undefined;
      if (next === undefined) room[to++] = text[at++] ?? 0;
      else if (next === LETTER_U) {
        const { code, length } = codePoint(text, at);
        to += writeUtf8(room, to, code);
        at += length;
      } else {
        const byte = ESCAPES[next];
        if (byte === undefined) throw invalid();
        room[to++] = byte;
        at += 2;
      }
    }
    return copySecret(room.subarray(0, to));
  } finally {
    room.fill(0);
  }
}

function codePoint(text: Uint8Array, at: number): { readonly code: number; readonly length: number } {
  const high = hexUnit(text, at);
  if (high < 0xd800 || high > 0xdfff) return { code: high, length: 6 };
  const low = hexUnit(text, at + 6);
  if (high > 0xdbff || low < 0xdc00 || low > 0xdfff) throw invalid();
  return { code: 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), length: 12 };
}

function hexUnit(text: Uint8Array, at: number): number {
  if (text[at] !== BACKSLASH || text[at + 1] !== LETTER_U) throw invalid();
  let value = 0;
  for (let digit = at + 2; digit < at + 6; digit++) {
    const byte = text[digit] ?? 0;
    const number = byte >= ZERO && byte <= 0x39 ? byte - ZERO : (byte | 0x20) - 0x61 + 10;
    if (number < 0 || number > 15 || (number < 10 && byte > 0x39)) throw invalid();
    value = value * 16 + number;
  }
  return value;
}

/** At most as long as the escape it stands for. */
function writeUtf8(into: Uint8Array, at: number, code: number): number {
  if (code < 0x80) {
    into[at] = code;
    return 1;
  }
  const more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  into[at] = ([0, 0xc0, 0xe0, 0xf0][more] ?? 0) | (code >> (6 * more));
  for (let part = 1; part <= more; part++) into[at + part] = 0x80 | ((code >> (6 * (more - part))) & 0x3f);
  return more + 1;
}
