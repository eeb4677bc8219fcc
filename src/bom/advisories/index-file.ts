/** The index of advisories: a file that is opened, not loaded; a package is found by the hash of its name. */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { type FileSource, openFileSource } from "../../artifact/index.ts";
import { files, systemErrorCode } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { normaliseName } from "../packages.ts";
import { unpackBlock } from "./block.ts";
import { type IndexedRecord, packageKey } from "./record.ts";
import { shortHash } from "./spill.ts";

export interface AdvisoryIndex {
  readonly packages: number;
  readonly records: number;
  /** Records of a package, empty when there are none. Throws ADVISORIES_INVALID for a damaged file. */
  find(ecosystem: string, name: string): readonly IndexedRecord[];
  /** True when there are records of that ecosystem, `Debian:12` being one: of others, no match means nothing. */
  covers(ecosystem: string): boolean;
  close(): void;
}

/**
 * Layout, integers little-endian: magic (8), offset of the directory (8), packages (8), records (8), SHA-256 of the
 * directory (32). Blocks of JSON follow, then the directory: name hash (16), offset (8), length (4), CRC-32 (4) per
 * package, in order of hash.
 */
export const INDEX_LAYOUT = { magic: "MKADV\0\x03\n", headerBytes: 64, entryBytes: 32, hashBytes: 16 } as const;

/** Opens in time that does not depend on the records. Fails with ADVISORIES_MISSING or ADVISORIES_INVALID. */
export async function openAdvisories(path: string): Promise<AdvisoryIndex> {
  const source = await openFileSource(await realPath(path));
  try {
    return new IndexFile(source, path);
  } catch (error) {
    source.close();
    throw error;
  }
}

async function realPath(path: string): Promise<string> {
  try {
    return await files.realpath(path);
  } catch (error) {
    throw bomError("ADVISORIES_MISSING", { detail: `${path} (${systemErrorCode(error) ?? "unknown"})`, cause: error });
  }
}

class IndexFile implements AdvisoryIndex {
  readonly packages: number;
  readonly records: number;
  readonly #path: string;
  readonly #source: FileSource;
  readonly #directory: Buffer;
  readonly #cache = new Map<string, readonly IndexedRecord[]>();

  constructor(source: FileSource, path: string) {
    this.#path = path;
    this.#source = source;
    const header = Buffer.from(source.read(0, INDEX_LAYOUT.headerBytes));
    if (header.length < INDEX_LAYOUT.headerBytes || header.toString("latin1", 0, 8) !== INDEX_LAYOUT.magic)
      this.#fail();
    const start = Number(header.readBigUInt64LE(8));
    this.packages = Number(header.readBigUInt64LE(16));
    this.records = Number(header.readBigUInt64LE(24));
    const bytes = this.packages * INDEX_LAYOUT.entryBytes;
    if (this.packages > BOM_LIMITS.advisoryPackages || start + bytes !== source.bytes) this.#fail();
    this.#directory = Buffer.from(source.read(start, bytes));
    const digest = createHash("sha256").update(this.#directory).digest();
    if (!digest.equals(header.subarray(32, 64))) this.#fail();
  }

  find(ecosystem: string, name: string): readonly IndexedRecord[] {
    const key = packageKey(ecosystem, normaliseName(ecosystem, name));
    const known = this.#cache.get(key);
    if (known) return known;
    const entry = this.#search(shortHash(key));
    const records = entry ? this.#readBlock(entry, key) : [];
    if (this.#cache.size >= BOM_LIMITS.cachedPackages) this.#cache.clear();
    this.#cache.set(key, records);
    return records;
  }

  covers(ecosystem: string): boolean {
    return this.#search(shortHash(packageKey(ecosystem, ""))) !== undefined;
  }

  close(): void {
    this.#source.close();
  }

  #search(hash: Buffer): Buffer | undefined {
    let low = 0;
    let high = this.packages - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const at = middle * INDEX_LAYOUT.entryBytes;
      const entry = this.#directory.subarray(at, at + INDEX_LAYOUT.entryBytes);
      const order = hash.compare(entry, 0, INDEX_LAYOUT.hashBytes);
      if (order === 0) return entry;
      if (order < 0) high = middle - 1;
      else low = middle + 1;
    }
    return undefined;
  }

  #readBlock(entry: Buffer, key: string): readonly IndexedRecord[] {
    const length = entry.readUInt32LE(24);
    if (length > BOM_LIMITS.packageBlockBytes) this.#fail();
    const bytes = this.#source.read(Number(entry.readBigUInt64LE(16)), length);
    if (bytes.length !== length || crc32(bytes) !== entry.readUInt32LE(28)) this.#fail();
    const block = unpackBlock(bytes);
    return block.key === key ? block.records : [];
  }

  #fail(): never {
    throw bomError("ADVISORIES_INVALID", { detail: this.#path });
  }
}
