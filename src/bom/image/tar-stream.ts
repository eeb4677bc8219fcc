/** Reads a tar archive as its bytes come: ustar, GNU long names, pax paths and sizes (POSIX.1-2017, pax). */
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";

export interface TarEntry {
  readonly kind: "file" | "folder" | "symlink" | "hardlink" | "other";
  /** As written, without a leading `./` or `/`. */
  readonly path: string;
  /** Of a link. */
  readonly target: string;
  readonly bytes: number;
  /** Where the content begins in the archive. */
  readonly start: number;
}

const BLOCK = 512;
const KINDS: Readonly<Record<string, TarEntry["kind"]>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  "1": "hardlink",
  "2": "symlink",
  "5": "folder",
};

/** What the reader gives for the content of a file; without one it is passed over. */
export interface TarContent {
  write(chunk: Uint8Array): void;
  end(): void;
}

/**
 * Calls `onEntry` for each member in order, and what it returns with the content. Throws IMAGE_INVALID where the
 * archive breaks. Bytes after the end are read over, so that digests of the whole can be taken.
 */
export async function readTarStream(
  chunks: AsyncIterable<Uint8Array>,
  onEntry: (entry: TarEntry) => TarContent | undefined,
): Promise<void> {
  const reader = new TarReader(onEntry);
  for await (const chunk of chunks) reader.push(chunk);
  reader.finish();
}

class TarReader {
  readonly #onEntry: (entry: TarEntry) => TarContent | undefined;
  #header = Buffer.alloc(BLOCK);
  #filled = 0;
  #position = 0;
  /** Bytes of content, then of padding, that are still to come. */
  #content = 0;
  #padding = 0;
  #sink: TarContent | undefined;
  #long: { name?: string; target?: string; bytes?: number } = {};
  #entries = 0;
  #ended = false;

  constructor(onEntry: (entry: TarEntry) => TarContent | undefined) {
    this.#onEntry = onEntry;
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length && !this.#ended; ) at += this.#take(chunk.subarray(at));
  }

  finish(): void {
    if (this.#content > 0 || this.#filled > 0) throw invalid("it ends within a member");
  }

  /** Returns how many bytes it used. */
  #take(bytes: Uint8Array): number {
    if (this.#content > 0) return this.#pass(bytes);
    if (this.#padding > 0) {
      const used = Math.min(this.#padding, bytes.length);
      this.#padding -= used;
      this.#position += used;
      return used;
    }
    const used = Math.min(BLOCK - this.#filled, bytes.length);
    this.#header.set(bytes.subarray(0, used), this.#filled);
    this.#filled += used;
    this.#position += used;
    if (this.#filled === BLOCK) this.#begin();
    return used;
  }

  #pass(bytes: Uint8Array): number {
    const used = Math.min(this.#content, bytes.length);
    this.#sink?.write(bytes.subarray(0, used));
    this.#content -= used;
    this.#position += used;
    if (this.#content === 0) this.#end();
    return used;
  }

  #end(): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.end();
  }

  #begin(): void {
    this.#filled = 0;
    if (this.#header.every((byte) => byte === 0)) {
      this.#ended = true;
      return;
    }
    if (++this.#entries > BOM_LIMITS.treeEntries) throw invalid(`over ${BOM_LIMITS.treeEntries} members`);
    checkSum(this.#header);
    const type = String.fromCharCode(this.#header[156] ?? 0);
    const isExtension = "xLKg".includes(type);
    const bytes = (isExtension ? undefined : this.#long.bytes) ?? readSize(this.#header);
    if (isExtension && bytes > BOM_LIMITS.tarHeaderBytes) throw invalid("an extended header is too long");
    const kind = KINDS[type] ?? "other";
    // Links and folders have no content, whatever their size says.
    this.#content = isExtension || kind === "file" || kind === "other" ? bytes : 0;
    this.#padding = (BLOCK - (this.#content % BLOCK)) % BLOCK;
    this.#sink = isExtension ? this.#extension(type) : this.#member(kind, bytes);
    if (this.#content === 0) this.#end();
  }

  #member(kind: TarEntry["kind"], bytes: number): TarContent | undefined {
    const { name, target } = this.#long;
    this.#long = {};
    const prefix = this.#header.toString("latin1", 257, 262) === "ustar" ? textOf(this.#header, 345, 500) : "";
    const own = textOf(this.#header, 0, 100);
    const path = name ?? (prefix === "" ? own : `${prefix}/${own}`);
    const link = target ?? textOf(this.#header, 157, 257);
    const isFolder = kind === "file" && path.endsWith("/");
    return this.#onEntry({
      kind: isFolder ? "folder" : kind,
      path: clean(path),
      target: link,
      bytes,
      start: this.#position,
    });
  }

  #extension(type: string): TarContent {
    const parts: Uint8Array[] = [];
    const write = (chunk: Uint8Array) => void parts.push(Uint8Array.from(chunk));
    const end = () => {
      const content = Buffer.concat(parts);
      if (type === "L") this.#long.name = content.toString("utf8").replace(/\0.*$/s, "");
      else if (type === "K") this.#long.target = content.toString("utf8").replace(/\0.*$/s, "");
      else if (type === "x") this.#readPax(content);
    };
    return { write, end };
  }

  /** `LENGTH KEY=VALUE\n`, the length in decimal and of the whole record. */
  #readPax(content: Buffer): void {
    for (let at = 0; at < content.length; ) {
      const space = content.indexOf(0x20, at);
      const length = Number(content.toString("latin1", at, space === -1 ? at : space));
      if (!Number.isSafeInteger(length) || length < 5 || at + length > content.length)
        throw invalid("an extended header");
      const [, key = "", value = ""] = /^([^=]*)=(.*)\n$/s.exec(content.toString("utf8", space + 1, at + length)) ?? [];
      if (key === "path") this.#long.name = value;
      if (key === "linkpath") this.#long.target = value;
      if (key === "size") this.#long.bytes = readNumber(value, 10);
      if (key.startsWith("GNU.sparse.")) throw invalid("sparse members are not read");
      at += length;
    }
  }
}

/** The sum of all bytes, with spaces in place of the sum itself. */
function checkSum(header: Buffer): void {
  let sum = 0;
  for (let at = 0; at < BLOCK; at++) sum += at >= 148 && at < 156 ? 0x20 : (header[at] ?? 0);
  if (sum !== readNumber(textOf(header, 148, 156).trim(), 8)) throw invalid("a header has a wrong checksum");
}

/** Octal, or base 256 when the first bit is set (GNU). */
function readSize(header: Buffer): number {
  const first = header[124] ?? 0;
  if (first < 0x80) return readNumber(textOf(header, 124, 136).trim(), 8);
  const value = header.readBigUInt64BE(128);
  if (first !== 0x80 || header.readUIntBE(125, 3) !== 0 || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw invalid("a size");
  return Number(value);
}

function readNumber(text: string, base: 8 | 10): number {
  if (!(base === 8 ? /^[0-7]{0,18}$/ : /^[0-9]{1,16}$/).test(text)) throw invalid("a number");
  const value = Number.parseInt(text || "0", base);
  if (!Number.isSafeInteger(value)) throw invalid("a number");
  return value;
}

function clean(path: string): string {
  return path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}

function textOf(header: Buffer, start: number, end: number): string {
  return header.toString("utf8", start, end).replace(/\0.*$/s, "");
}

function invalid(detail: string) {
  return bomError("IMAGE_INVALID", { detail: `tar: ${detail}` });
}
