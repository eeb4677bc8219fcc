/** Looks into archives as a careless loader would read them: zip whatever its flags say, tar, gzip, zlib. */
import { gunzipSync, inflateSync } from "node:zlib";
import {
  type ByteSource,
  memorySource,
  openZipMember,
  readZipDirectory,
  sliceSource,
  type ZipMember,
  zipCrc,
} from "../artifact/index.ts";
import { ModelkeepError } from "../base/index.ts";
import { type Inspection, shorten } from "./inspection.ts";
import { SCAN_LIMITS } from "./limits.ts";
import { carvePickles, probePickles } from "./pickle/scan-pickle.ts";
import { readTar } from "./tar.ts";

const ENCRYPTED = 0x1;
const LINK_MODE = 0o120000;
const TYPE_MODE = 0o170000;
/** A PyTorch archive, and its raw storages: numbers, which have no format. */
const TORCH_PICKLE = /^(?:[^/]+\/)?(?:data|constants)\.pkl$/;
const TORCH_STORAGE = /^(?:[^/]+\/)?(?:data|constants|tensors)\/\d+$/;
/** Members up to this length have their checksum checked, in bytes. */
const CHECKED_BYTES = 64 * 1024 * 1024;

/** True when there is a readable zip directory at the end, wherever the archive begins. */
export function looksLikeZip(source: ByteSource): boolean {
  const head = Buffer.from(source.read(0, 4)).toString("latin1");
  if (head === "PK\x03\x04" || head === "PK\x05\x06") return true;
  try {
    return readZipDirectory(source, SCAN_LIMITS.archiveMembers).members.some(
      ({ localName }) => localName !== undefined,
    );
  } catch (error) {
    if (error instanceof ModelkeepError) return error.code === "LIMIT_EXCEEDED";
    throw error;
  }
}

export function scanZip(source: ByteSource, inspection: Inspection): void {
  try {
    const { members, prefixBytes, shadow } = readZipDirectory(source, SCAN_LIMITS.archiveMembers);
    if (prefixBytes > 0) inspection.report("zip-prefix", "suspicious", `${prefixBytes} bytes stand before the archive`);
    if (shadow.length > 0)
      inspection.report("zip-two-directories", "malicious", "two directories, for different readers");
    if (!checkPlaces(source, members, inspection)) return;
    const isTorch = members.some(({ name }) => TORCH_PICKLE.test(name));
    for (const member of members) scanMember(source, member, inspection, isTorch && TORCH_STORAGE.test(member.name));
  } catch (error) {
    const known = reportUnreadable(error, "zip", inspection);
    if (known) carvePickles(source, 0, inspection);
  }
}

function scanMember(source: ByteSource, member: ZipMember, inspection: Inspection, isStorage: boolean): void {
  checkName(member.name, inspection);
  if (member.localName !== member.name) {
    const other = member.localName === undefined ? "no header" : shorten(member.localName);
    inspection.report("zip-name-mismatch", "malicious", `${shorten(member.name)} has ${other} as its local name`);
  }
  if ((member.mode & TYPE_MODE) === LINK_MODE) {
    inspection.report("archive-link", "suspicious", `${shorten(member.name)} is a symbolic link`);
  }
  if (member.name.endsWith("/") && member.compressedBytes === 0) return;
  if (isBomb(member.bytes, member.compressedBytes)) {
    inspection.report("archive-ratio", "unscannable", `${shorten(member.name)} claims ${member.bytes} unpacked bytes`);
    return;
  }
  try {
    const content = openZipMember(source, member, SCAN_LIMITS.memberBytes);
    if (member.method !== 0 && !inspection.spend(content.bytes)) return;
    checkContent(content, member, inspection);
    if (isStorage) probePickles(content, inspection);
    else inspection.inside(content, member.name);
  } catch (error) {
    if ((member.flags & ENCRYPTED) !== 0) reportEncrypted(member, inspection);
    else reportUnreadable(error, shorten(member.name), inspection);
  }
}

/** The flag alone proves nothing: PyTorch ignores it. Bytes that fit their checksum are no ciphertext. */
function checkContent(content: ByteSource, member: ZipMember, inspection: Inspection): void {
  const encrypted = (member.flags & ENCRYPTED) !== 0;
  const checked = content.bytes <= CHECKED_BYTES && member.crc !== 0;
  const fits = checked && zipCrc(content.read(0, content.bytes)) === member.crc;
  if (encrypted && fits)
    inspection.report("zip-false-flag", "suspicious", `${shorten(member.name)} only claims encryption`);
  else if (encrypted) reportEncrypted(member, inspection);
  else if (checked && !fits) {
    inspection.report("zip-checksum", "suspicious", `${shorten(member.name)} does not match its checksum`);
  }
}

function reportEncrypted(member: ZipMember, inspection: Inspection): void {
  inspection.report("zip-encrypted", "unscannable", `${shorten(member.name)} is encrypted`);
}

function isBomb(bytes: number, packedBytes: number): boolean {
  return bytes > SCAN_LIMITS.ratioFreeBytes && bytes > packedBytes * SCAN_LIMITS.ratio;
}

/** Bytes between the members are searched; members that share bytes are an attack, and not unpacked again and again. */
function checkPlaces(source: ByteSource, members: readonly ZipMember[], inspection: Inspection): boolean {
  const sorted = members.toSorted((a, b) => a.headerStart - b.headerStart);
  let end = sorted[0]?.headerStart ?? 0;
  for (const member of sorted) {
    if (member.headerStart < end) {
      inspection.report("zip-overlap", "malicious", `${shorten(member.name)} shares its bytes with another file`);
      return false;
    }
    if (member.headerStart > end) carvePickles(sliceSource(source, end, member.headerStart), 0, inspection);
    end = member.dataStart + member.compressedBytes;
  }
  return true;
}

/** Names that leave the folder they are unpacked into. */
function checkName(name: string, inspection: Inspection): void {
  const parts = name.split(/[/\\]/);
  if (parts.includes("..") || /^(?:[/\\]|[A-Za-z]:)/.test(name) || name.includes("\0")) {
    inspection.report("archive-traversal", "malicious", `${shorten(name)} leaves the folder it is unpacked into`);
  }
}

/** Rethrows what is no complaint of a reader. */
function reportUnreadable(error: unknown, what: string, inspection: Inspection): boolean {
  if (!(error instanceof ModelkeepError)) throw error;
  const limit = error.code === "LIMIT_EXCEEDED";
  inspection.report(
    limit ? "archive-limit" : "archive-broken",
    limit ? "unscannable" : "malformed",
    `${what}: ${error.message}`,
  );
  return true;
}

export function scanTar(source: ByteSource, inspection: Inspection): void {
  try {
    for (const member of readTar(source, SCAN_LIMITS.archiveMembers)) {
      checkName(member.name, inspection);
      if (member.kind === "link") {
        checkName(member.target, inspection);
        inspection.report("archive-link", "suspicious", `${shorten(member.name)} is a link`);
      } else if (member.kind === "file") inspection.inside(sliceSource(source, member.start, member.end), member.name);
    }
  } catch (error) {
    reportUnreadable(error, "tar", inspection);
  }
}

export function scanGzip(source: ByteSource, inspection: Inspection): void {
  scanPacked(source, inspection, gunzipSync, "gzip");
}

export function scanZlib(source: ByteSource, inspection: Inspection): void {
  scanPacked(source, inspection, inflateSync, "zlib");
}

type Unpack = (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;

function scanPacked(source: ByteSource, inspection: Inspection, unpack: Unpack, kind: string): void {
  if (source.bytes > SCAN_LIMITS.memberBytes) {
    inspection.report("archive-limit", "unscannable", `${kind}: over ${SCAN_LIMITS.memberBytes} bytes`);
    return;
  }
  try {
    const bytes = unpack(source.read(0, source.bytes), { maxOutputLength: SCAN_LIMITS.memberBytes });
    if (inspection.spend(bytes.length)) inspection.inside(memorySource(bytes), `(${kind})`);
  } catch (error) {
    if (error instanceof RangeError) {
      inspection.report("archive-limit", "unscannable", `${kind}: unpacks to over ${SCAN_LIMITS.memberBytes} bytes`);
    } else {
      inspection.report("archive-broken", "malformed", `${kind}: cannot be unpacked`);
      carvePickles(source, 0, inspection);
    }
  }
}
