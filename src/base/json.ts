/** Reads JSON that a stranger wrote: bounded size and depth, no duplicate keys, no prototype keys. */
import { fromUtf8 } from "./bytes.ts";
import { baseError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

export interface JsonLimits {
  readonly maxBytes?: number;
  readonly maxDepth?: number;
  /** Values in arrays and objects, all together: many short ones cost far more time than their bytes. */
  readonly maxValues?: number;
  /** Names the document in error messages. */
  readonly what?: string;
}

/**
 * Parses strict JSON. Throws INVALID_JSON for a syntax error, a duplicate or `__proto__` key or bad UTF-8, and
 * LIMIT_EXCEEDED beyond the limits. Numbers become doubles: read 64-bit fields as strings.
 */
export function parseJson(input: Uint8Array | string, limits: JsonLimits = {}): unknown {
  const what = limits.what ?? "document";
  const maxBytes = limits.maxBytes ?? LIMITS.jsonBytes;
  const length = typeof input === "string" ? Buffer.byteLength(input) : input.length;
  if (length > maxBytes) {
    throw baseError("LIMIT_EXCEEDED", { detail: `${what} has ${length} bytes, the limit is ${maxBytes}` });
  }
  const text = typeof input === "string" ? input : decode(input, what);
  new Structure(text, limits, what).check();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw baseError("INVALID_JSON", { detail: what, cause: error });
  }
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return fromUtf8(bytes);
  } catch (error) {
    throw baseError("INVALID_JSON", { detail: `${what} is not UTF-8`, cause: error });
  }
}

/** One pass over the text that knows only strings and brackets: enough for depth and keys, JSON.parse does the rest. */
class Structure {
  readonly #text: string;
  readonly #maxDepth: number;
  readonly #maxValues: number;
  readonly #what: string;

  constructor(text: string, limits: JsonLimits, what: string) {
    this.#text = text;
    this.#maxDepth = limits.maxDepth ?? LIMITS.jsonDepth;
    this.#maxValues = limits.maxValues ?? Number.POSITIVE_INFINITY;
    this.#what = what;
  }

  check(): void {
    const text = this.#text;
    const stack: (Set<string> | null)[] = [];
    let expectKey = false;
    let values = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c === 0x22) {
        const end = this.#endOfString(i);
        if (expectKey) this.#addKey(stack.at(-1), text.slice(i, end + 1));
        expectKey = false;
        i = end;
      } else if (c === 0x7b || c === 0x5b) {
        stack.push(c === 0x7b ? new Set() : null);
        if (stack.length > this.#maxDepth) this.#tooDeep();
        if (++values > this.#maxValues) this.#tooMany();
        expectKey = c === 0x7b;
      } else if (c === 0x7d || c === 0x5d) {
        stack.pop();
        expectKey = false;
      } else if (c === 0x2c) {
        expectKey = stack.at(-1) instanceof Set;
        if (++values > this.#maxValues) this.#tooMany();
      }
    }
  }

  #endOfString(start: number): number {
    const text = this.#text;
    for (let i = start + 1; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c === 0x5c) i++;
      else if (c === 0x22) return i;
    }
    throw baseError("INVALID_JSON", { detail: `${this.#what} ends inside a string` });
  }

  #addKey(keys: Set<string> | null | undefined, quoted: string): void {
    if (!keys) return;
    const key = unquote(quoted);
    if (key === undefined) throw baseError("INVALID_JSON", { detail: this.#what });
    if (key === "__proto__") throw baseError("INVALID_JSON", { detail: `${this.#what} has a key __proto__` });
    if (keys.has(key)) {
      throw baseError("INVALID_JSON", { detail: `${this.#what} has the key ${quoted.slice(0, 80)} twice` });
    }
    keys.add(key);
  }

  #tooMany(): never {
    throw baseError("LIMIT_EXCEEDED", { detail: `${this.#what} has more than ${this.#maxValues} values` });
  }

  #tooDeep(): never {
    throw baseError("LIMIT_EXCEEDED", { detail: `${this.#what} is nested deeper than ${this.#maxDepth} levels` });
  }
}

function unquote(quoted: string): string | undefined {
  if (!quoted.includes("\\")) return quoted.slice(1, -1);
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return undefined;
  }
}
