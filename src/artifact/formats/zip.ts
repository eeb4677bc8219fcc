/** Reads zip archives without trusting them: the directory, the local headers beside it, one member at a time. */
import { constants, crc32, inflateRawSync } from "node:zlib";
import { baseError, ModelkeepError } from "../../base/index.ts";
import { artifactError } from "../errors.ts";
import { FORMAT_LIMITS } from "./limits.ts";
import type { ByteSource } from "./source.ts";
import { sliceSource } from "./source.ts";

export interface ZipMember {
  /** As the central directory names it. */
  readonly name: string;
  /** As the local header names it; undefined when there is no local header where the directory points. */
  readonly localName: string | undefined;
  readonly method: number;
  readonly flags: number;
  readonly crc: number;
  readonly compressedBytes: number;
  readonly bytes: number;
  /** Unix mode from the external attributes, 0 when absent. */
  readonly mode: number;
  readonly headerStart: number;
  readonly dataStart: number;
}

export interface ZipDirectory {
  readonly members: readonly ZipMember[];
  /** Bytes before the archive's own beginning. */
  readonly prefixBytes: number;
  /** What readers see that trust the stated offset of the directory, when a directory is there too; else empty. */
  readonly shadow: readonly ZipMember[];
}

const END_BYTES = 22;
const MAX_COMMENT_BYTES = 65_535;
const END = 0x06054b50;
const END64_LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const STORED = 0;
const DEFLATED = 8;

interface Ending {
  readonly count: number;
  readonly directoryBytes: number;
  readonly directoryStart: number;
  readonly prefixBytes: number;
}

/** Throws HEADER_INVALID when there is no readable directory. */
export function readZipDirectory(source: ByteSource, maxMembers: number = FORMAT_LIMITS.zipMembers): ZipDirectory {
  const ending = findBounded(source, maxMembers);
  const { directoryStart, prefixBytes } = ending;
  const members = [...walkMembers(source, ending, directoryStart, prefixBytes)];
  return { members, prefixBytes, shadow: prefixBytes === 0 ? [] : readShadow(source, ending) };
}

/** The members one after the other, for archives of so many that a list of them is a burden. Throws HEADER_INVALID. */
export function* walkZipMembers(source: ByteSource, maxMembers: number): Generator<ZipMember> {
  const ending = findBounded(source, maxMembers);
  yield* walkMembers(source, ending, ending.directoryStart, ending.prefixBytes);
}

function findBounded(source: ByteSource, maxMembers: number): Ending {
  const ending = findEnding(source);
  if (ending.count > maxMembers) {
    throw baseError("LIMIT_EXCEEDED", { detail: `an archive of ${ending.count} files, at most ${maxMembers}` });
  }
  if (ending.directoryBytes > FORMAT_LIMITS.zipDirectoryBytes) throw invalid("the directory is too long");
  return ending;
}

function* walkMembers(source: ByteSource, ending: Ending, start: number, prefix: number): Generator<ZipMember> {
  const directory = viewOf(source.read(start, ending.directoryBytes));
  for (let at = 0, count = 0; count < ending.count; count++) {
    const { member, next } = readCentral(source, directory, at, prefix);
    yield member;
    at = next;
  }
}

/** Bytes before an archive shift everything; a reader that does not shift may find another directory. */
function readShadow(source: ByteSource, ending: Ending): ZipMember[] {
  try {
    return [...walkMembers(source, { ...ending, count: 1 }, ending.directoryStart - ending.prefixBytes, 0)];
  } catch (error) {
    if (error instanceof ModelkeepError) return [];
    throw error;
  }
}

function findEnding(source: ByteSource): Ending {
  const tailStart = Math.max(0, source.bytes - END_BYTES - MAX_COMMENT_BYTES);
  const tail = viewOf(source.read(tailStart, source.bytes - tailStart));
  for (let at = tail.byteLength - END_BYTES; at >= 0; at--) {
    if (tail.getUint32(at, true) !== END) continue;
    const ending = readEnding(source, tail, at, tailStart);
    if (ending) return ending;
  }
  throw invalid("the end of the directory is missing");
}

function readEnding(source: ByteSource, tail: DataView, at: number, tailStart: number): Ending | undefined {
  const wide = readEnding64(source, tailStart + at);
  const count = wide?.count ?? tail.getUint16(at + 10, true);
  const directoryBytes = wide?.directoryBytes ?? tail.getUint32(at + 12, true);
  const stated = wide?.directoryStart ?? tail.getUint32(at + 16, true);
  const end = wide?.start ?? tailStart + at;
  const directoryStart = end - directoryBytes;
  if (directoryStart < 0 || directoryStart < stated) return undefined;
  return { count, directoryBytes, directoryStart, prefixBytes: directoryStart - stated };
}

function readEnding64(source: ByteSource, endStart: number) {
  if (endStart < 76) return undefined;
  const locator = viewOf(source.read(endStart - 20, 20));
  if (locator.byteLength < 20 || locator.getUint32(0, true) !== END64_LOCATOR) return undefined;
  const start = endStart - 76;
  const record = viewOf(source.read(start, 56));
  if (record.getUint32(0, true) !== END64) return undefined;
  if (locator.getBigUint64(8, true) !== BigInt(start))
    throw invalid("the wide end of the directory is not where it is said to be");
  return {
    start,
    count: Number(record.getBigUint64(32, true)),
    directoryBytes: Number(record.getBigUint64(40, true)),
    directoryStart: Number(record.getBigUint64(48, true)),
  };
}

function readCentral(source: ByteSource, directory: DataView, at: number, prefix: number) {
  if (at + 46 > directory.byteLength || directory.getUint32(at, true) !== CENTRAL)
    throw invalid("the directory is cut");
  const nameBytes = directory.getUint16(at + 28, true);
  const extraBytes = directory.getUint16(at + 30, true);
  const next = at + 46 + nameBytes + extraBytes + directory.getUint16(at + 32, true);
  if (nameBytes > FORMAT_LIMITS.zipNameBytes || next > directory.byteLength) throw invalid("the directory is cut");
  const sizes = readSizes(directory, at, at + 46 + nameBytes, extraBytes);
  const headerStart = sizes.headerStart + prefix;
  const member: ZipMember = {
    name: textOf(directory, at + 46, nameBytes),
    method: directory.getUint16(at + 10, true),
    flags: directory.getUint16(at + 8, true),
    crc: directory.getUint32(at + 16, true),
    compressedBytes: sizes.compressedBytes,
    bytes: sizes.bytes,
    mode: directory.getUint32(at + 38, true) >>> 16,
    headerStart,
    ...readLocal(source, headerStart),
  };
  return { member, next };
}

/** Zip64 values stand in the extra field for each 32-bit value that is all ones (APPNOTE 4.5.3). */
function readSizes(directory: DataView, at: number, extraStart: number, extraBytes: number) {
  const wide = findExtra64(directory, extraStart, extraBytes);
  let used = 0;
  const value = (offset: number): number => {
    const narrow = directory.getUint32(at + offset, true);
    if (narrow !== 0xffffffff || !wide || used + 8 > wide.byteLength) return narrow;
    used += 8;
    return Number(wide.getBigUint64(used - 8, true));
  };
  const bytes = value(24);
  const compressedBytes = value(20);
  return { bytes, compressedBytes, headerStart: value(42) };
}

function findExtra64(directory: DataView, start: number, length: number): DataView | undefined {
  for (let at = start; at + 4 <= start + length; ) {
    const size = directory.getUint16(at + 2, true);
    if (at + 4 + size > start + length) return undefined;
    if (directory.getUint16(at, true) === 1) return new DataView(directory.buffer, directory.byteOffset + at + 4, size);
    at += 4 + size;
  }
  return undefined;
}

function readLocal(source: ByteSource, start: number): { localName: string | undefined; dataStart: number } {
  const head = viewOf(source.read(start, 30));
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) return { localName: undefined, dataStart: start };
  const nameBytes = head.getUint16(26, true);
  const dataStart = start + 30 + nameBytes + head.getUint16(28, true);
  const name = viewOf(source.read(start + 30, Math.min(nameBytes, FORMAT_LIMITS.zipNameBytes)));
  return { localName: textOf(name, 0, name.byteLength), dataStart };
}

/** A stored member is a part of the archive; a deflated one is unpacked, LIMIT_EXCEEDED beyond `maxBytes`. */
export function openZipMember(source: ByteSource, member: ZipMember, maxBytes: number): ByteSource {
  const packed = sliceSource(source, member.dataStart, member.dataStart + member.compressedBytes);
  if (packed.bytes < member.compressedBytes) throw invalid(`${member.name.slice(0, 80)} is cut`);
  if (member.method === STORED) return packed;
  if (member.method !== DEFLATED) throw invalid(`${member.name.slice(0, 80)} is packed by method ${member.method}`);
  if (member.compressedBytes > maxBytes) throw tooLarge(member, maxBytes);
  const bytes = inflate(packed.read(0, packed.bytes), member, maxBytes);
  return { bytes: bytes.length, read: (start, length) => bytes.subarray(start, start + Math.max(0, length)) };
}

function inflate(packed: Uint8Array, member: ZipMember, maxBytes: number): Uint8Array {
  try {
    return inflateRawSync(packed, { maxOutputLength: maxBytes, finishFlush: constants.Z_SYNC_FLUSH });
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge(member, maxBytes);
    throw invalid(`${member.name.slice(0, 80)} cannot be unpacked`);
  }
}

export function zipCrc(bytes: Uint8Array): number {
  return crc32(bytes);
}

function tooLarge(member: ZipMember, maxBytes: number) {
  return baseError("LIMIT_EXCEEDED", { detail: `${member.name.slice(0, 80)} unpacks to over ${maxBytes} bytes` });
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function textOf(view: DataView, start: number, length: number): string {
  return Buffer.from(view.buffer, view.byteOffset + start, length).toString("utf8");
}

function invalid(detail: string) {
  return artifactError("HEADER_INVALID", { detail: `zip: ${detail}` });
}
