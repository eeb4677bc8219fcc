/** Reads .env files as bytes: names become strings, values never do. */
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";

export interface DotenvEntry {
  readonly name: string;
  /** Memory of its own; whoever reads it wipes it. */
  readonly value: Uint8Array;
  /** Where it begins, from 1. */
  readonly line: number;
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const HASH = 0x23;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;
const DOUBLE = 0x22;
const QUOTES = new Set([DOUBLE, 0x27, 0x60]);
const NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,99}$/;

/**
 * As the package dotenv reads it: `export ` may stand before a name, quotes may span lines, `\n` and `\r` mean something
 * between double quotes only, ` #` begins a comment. Of a name that comes twice the last value counts. Throws
 * DOTENV_INVALID with the line, never with what stands in it; nothing is left unwiped then.
 */
export function parseDotenv(bytes: Uint8Array): readonly DotenvEntry[] {
  const found = new Map<string, DotenvEntry>();
  try {
    const reader = new Reader(bytes);
    for (let entry = reader.next(); entry; entry = reader.next()) {
      found.get(entry.name)?.value.fill(0);
      found.set(entry.name, entry);
      if (found.size > SECRET_LIMITS.dotenvEntries) throw invalid(entry.line, "there are too many");
    }
    return [...found.values()];
  } catch (error) {
    for (const { value } of found.values()) value.fill(0);
    throw error;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #line = 1;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    // A byte order mark, as editors on Windows write it.
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.#at = 3;
  }

  next(): DotenvEntry | undefined {
    this.#skipEmpty();
    if (this.#at >= this.#bytes.length) return undefined;
    const line = this.#line;
    const name = this.#name(line);
    this.#skipBlanks();
    const quote = this.#bytes[this.#at];
    const value = quote !== undefined && QUOTES.has(quote) ? this.#quoted(quote, line) : this.#bare();
    return { name, value, line };
  }

  #skipEmpty(): void {
    for (; this.#at < this.#bytes.length; this.#at++) {
      const byte = this.#bytes[this.#at];
      if (byte === HASH) this.#at = this.#endOfLine() - 1;
      else if (byte === NEWLINE) this.#line++;
      else if (byte !== SPACE && byte !== TAB && byte !== RETURN) return;
    }
  }

  #skipBlanks(): void {
    while (this.#bytes[this.#at] === SPACE || this.#bytes[this.#at] === TAB) this.#at++;
  }

  #endOfLine(): number {
    const end = this.#bytes.indexOf(NEWLINE, this.#at);
    return end < 0 ? this.#bytes.length : end;
  }

  #name(line: number): string {
    const equals = this.#bytes.indexOf(EQUALS, this.#at);
    if (equals < 0 || equals > this.#endOfLine() || equals - this.#at > 200)
      throw invalid(line, "NAME=VALUE is expected");
    const name = String.fromCharCode(...this.#bytes.subarray(this.#at, equals))
      .trim()
      .replace(/^export\s+/, "");
    if (!NAME.test(name)) throw invalid(line, "the name is none");
    this.#at = equals + 1;
    return name;
  }

  #bare(): Uint8Array {
    const end = this.#endOfLine();
    let stop = this.#at;
    while (stop < end && !(this.#bytes[stop] === HASH && beginsComment(this.#bytes[stop - 1]))) stop++;
    while (stop > this.#at && isBlank(this.#bytes[stop - 1])) stop--;
    const value = copyOf(this.#bytes.subarray(this.#at, stop));
    this.#at = end;
    return value;
  }

  #quoted(quote: number, line: number): Uint8Array {
    const start = this.#at + 1;
    let end = start;
    while (this.#bytes[end] !== quote) {
      if (end >= this.#bytes.length) throw invalid(line, "the quote does not end");
      if (this.#bytes[end] === NEWLINE) this.#line++;
      end += quote === DOUBLE && this.#bytes[end] === BACKSLASH ? 2 : 1;
    }
    this.#at = end + 1;
    const rest = this.#bytes.subarray(this.#at, this.#endOfLine());
    if (!/^[ \t\r]*(?:#.*)?$/s.test(Buffer.from(rest).toString("latin1")))
      throw invalid(line, "something follows the quote");
    this.#at = this.#endOfLine();
    const inside = this.#bytes.subarray(start, end);
    return quote === DOUBLE ? unescaped(inside) : copyOf(inside);
  }
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB || byte === RETURN;
}

function beginsComment(before: number | undefined): boolean {
  return isBlank(before) || before === EQUALS;
}

/** Not in JavaScript's heap, whatever its length. */
function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

const ESCAPES = new Map([
  [0x6e, NEWLINE],
  [0x72, RETURN],
  [DOUBLE, DOUBLE],
  [BACKSLASH, BACKSLASH],
]);

function unescaped(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(new ArrayBuffer(bytes.length));
  let length = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    const meant = byte === BACKSLASH ? ESCAPES.get(bytes[at + 1] ?? -1) : undefined;
    out[length++] = meant ?? byte;
    if (meant !== undefined) at++;
  }
  const value = copyOf(out.subarray(0, length));
  out.fill(0);
  return value;
}

function invalid(line: number, detail: string): Error {
  return secretError("DOTENV_INVALID", { detail: `line ${line}: ${detail}` });
}
