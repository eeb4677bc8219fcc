/** Reads the headers of a tar archive: ustar, GNU long names, pax paths. */
import { artifactError, type ByteSource } from "../artifact/index.ts";
import { baseError } from "../base/index.ts";

export type TarMember =
  | { readonly kind: "file"; readonly name: string; readonly start: number; readonly end: number }
  | { readonly kind: "link"; readonly name: string; readonly target: string }
  | { readonly kind: "other"; readonly name: string };

const BLOCK = 512;
const MAX_NAME_BYTES = 64 * 1024;

export function looksLikeTar(source: ByteSource): boolean {
  const head = source.read(0, BLOCK);
  return head.length === BLOCK && Buffer.from(head).toString("latin1", 257, 262) === "ustar";
}

/** Throws HEADER_INVALID where the archive breaks, LIMIT_EXCEEDED beyond `maxMembers`. */
export function* readTar(source: ByteSource, maxMembers: number): Generator<TarMember> {
  let longName: string | undefined;
  let members = 0;
  for (let at = 0; at + BLOCK <= source.bytes; ) {
    const header = Buffer.from(source.read(at, BLOCK));
    if (header.every((byte) => byte === 0)) return;
    if (++members > maxMembers) throw baseError("LIMIT_EXCEEDED", { detail: `a tar of over ${maxMembers} files` });
    const bytes = readSize(header);
    const start = at + BLOCK;
    if (start + bytes > source.bytes) throw artifactError("HEADER_INVALID", { detail: "tar: a member is cut" });
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === "x" || type === "g") checkPax(source, start, bytes);
    if (type === "L" || type === "x") longName = readLongName(source, start, bytes, type);
    else {
      yield describe(header, type, longName, start, bytes);
      longName = undefined;
    }
    at = start + Math.ceil(bytes / BLOCK) * BLOCK;
  }
}

function describe(header: Buffer, type: string, longName: string | undefined, start: number, bytes: number): TarMember {
  const prefix = textOf(header, 345, 500);
  const own = textOf(header, 0, 100);
  const name = longName ?? (prefix === "" ? own : `${prefix}/${own}`);
  if (type === "0" || type === "\0" || type === "7") return { kind: "file", name, start, end: start + bytes };
  if (type === "1" || type === "2") return { kind: "link", name, target: textOf(header, 157, 257) };
  return { kind: "other", name };
}

function readSize(header: Buffer): number {
  const text = textOf(header, 124, 136).trim();
  if (!/^[0-7]*$/.test(text)) throw artifactError("HEADER_INVALID", { detail: "tar: a size is not octal" });
  return text === "" ? 0 : Number.parseInt(text, 8);
}

/** A size in a pax header moves every byte behind it; nobody needs it below 8 GiB. */
function checkPax(source: ByteSource, start: number, bytes: number): void {
  const text = Buffer.from(source.read(start, Math.min(bytes, MAX_NAME_BYTES))).toString("latin1");
  if (bytes > MAX_NAME_BYTES || /^\d+ (?:size|GNU\.sparse[^=]*)=/m.test(text)) {
    throw artifactError("HEADER_INVALID", { detail: "tar: an extended header changes sizes" });
  }
}

function readLongName(source: ByteSource, start: number, bytes: number, type: string): string | undefined {
  const text = Buffer.from(source.read(start, Math.min(bytes, MAX_NAME_BYTES))).toString("utf8");
  if (type === "L") return text.replace(/\0.*$/s, "");
  return /^\d+ path=(.*)$/m.exec(text)?.[1];
}

function textOf(header: Buffer, start: number, end: number): string {
  return header.toString("utf8", start, end).replace(/\0.*$/s, "");
}
