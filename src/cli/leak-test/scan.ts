/** Looks for a key where it must not be: in the memory of another process, in files, in words. */
import { join } from "node:path";
import { files, fsSync } from "../../host/index.ts";

/** Read at once, in bytes; what lies across the border of two reads is read twice. */
const BLOCK_BYTES = 4 * 1024 * 1024;
const OVERLAP_BYTES = 512;
const EMPTY = Buffer.alloc(BLOCK_BYTES + OVERLAP_BYTES);
/** Characters of the key that are enough to call it found. */
const PIECE_CHARACTERS = 20;

export interface Found {
  readonly copies: number;
  readonly bytes: number;
}

/** The middle of the key as it is, in two bytes a letter, in hex, and in base64 and base64url at each alignment. */
export function needlesOf(key: string): readonly Buffer[] {
  const start = Math.floor((key.length - PIECE_CHARACTERS) / 2);
  const piece = Buffer.from(key.slice(start, start + PIECE_CHARACTERS), "latin1");
  const encoded = [0, 1, 2].flatMap((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), piece]).toString("base64");
    // The first and the last characters depend on the neighbours.
    const core = text.slice(shift === 0 ? 0 : shift + 1, Math.floor(((shift + piece.length) * 8) / 6));
    return [core, core.replaceAll("+", "-").replaceAll("/", "_")];
  });
  const texts = [piece.toString("hex"), piece.toString("hex").toUpperCase(), ...new Set(encoded)];
  return [piece, Buffer.from(piece.toString("latin1"), "utf16le"), ...texts.map((text) => Buffer.from(text))];
}

/** Undefined when this process may not read the memory of the other: that is a protection, and no proof. */
export function scanMemory(pid: number, needles: readonly Buffer[]): Found | undefined {
  let memory: number;
  let maps: string;
  try {
    maps = fsSync.readFileSync(`/proc/${pid}/maps`, "latin1");
    memory = fsSync.openSync(`/proc/${pid}/mem`, "r");
  } catch {
    return undefined;
  }
  try {
    return sum(regionsOf(maps).map(([from, to]) => scanOpen(memory, needles, from, to)));
  } finally {
    fsSync.closeSync(memory);
  }
}

function regionsOf(maps: string): readonly (readonly [bigint, bigint])[] {
  return maps.split("\n").flatMap((line) => {
    const [, from, to, mode] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? [];
    if (from === undefined || to === undefined || !mode?.startsWith("r") || /\[vvar|\[vsyscall/.test(line)) return [];
    return [[BigInt(`0x${from}`), BigInt(`0x${to}`)] as const];
  });
}

export function scanFile(path: string, needles: readonly Buffer[]): Found {
  const descriptor = fsSync.openSync(path, "r");
  try {
    return scanOpen(descriptor, needles, 0n, BigInt(fsSync.fstatSync(descriptor).size));
  } finally {
    fsSync.closeSync(descriptor);
  }
}

/** Every file below. */
export async function scanFolder(folder: string, needles: readonly Buffer[]): Promise<Found> {
  const entries = await files.readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return sum(paths.map((path) => scanFile(path, needles)));
}

export function scanText(text: string, needles: readonly Buffer[]): Found {
  const bytes = Buffer.from(text, "latin1");
  return {
    copies: needles.reduce((copies, needle) => copies + count(bytes, needle, bytes.length), 0),
    bytes: bytes.length,
  };
}

export function sum(all: readonly Found[]): Found {
  return all.reduce((a, b) => ({ copies: a.copies + b.copies, bytes: a.bytes + b.bytes }), { copies: 0, bytes: 0 });
}

function scanOpen(descriptor: number, needles: readonly Buffer[], from: bigint, to: bigint): Found {
  const block = Buffer.allocUnsafeSlow(BLOCK_BYTES + OVERLAP_BYTES);
  let [copies, bytes] = [0, 0];
  for (let at = from; at < to; at += BigInt(BLOCK_BYTES)) {
    const read = readAt(descriptor, block, Math.min(block.length, Number(to - at)), at);
    bytes += Math.min(read, BLOCK_BYTES);
    // Core files are mostly holes.
    if (block.compare(EMPTY, 0, read, 0, read) === 0) continue;
    for (const needle of needles) copies += count(block.subarray(0, read), needle, BLOCK_BYTES);
  }
  return { copies, bytes };
}

/** Pages that are not there, or that nobody may read: memfd_secret answers EIO. */
function readAt(descriptor: number, block: Buffer, length: number, at: bigint): number {
  try {
    return fsSync.readSync(descriptor, block, 0, length, at);
  } catch {
    return 0;
  }
}

/** Those that begin before `before`. */
function count(bytes: Buffer, needle: Buffer, before: number): number {
  let found = 0;
  for (let at = bytes.indexOf(needle); at >= 0 && at < before; at = bytes.indexOf(needle, at + 1)) found++;
  return found;
}
