/** Builds the index of advisories from OSV dumps; the records pass through a file, so that memory stays small. */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { type Progress, uint64be, utf8 } from "../../base/index.ts";
import { files, processInfo, syncFolder } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { packBlock } from "./block.ts";
import { readDump } from "./dump.ts";
import { hashPackage, INDEX_LAYOUT } from "./index-file.ts";
import { type AdvisoryRecord, packageKey, readAdvisory } from "./record.ts";

export interface ImportOptions {
  /** Zip archives, folders or single records of OSV. */
  readonly from: readonly string[];
  /** Where the index goes; an older one is replaced when the new one is whole. */
  readonly into: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface ImportReport {
  readonly records: number;
  readonly packages: number;
  /** Names of files that were no records. */
  readonly unreadable: readonly string[];
}

/** Where the parts of a package lie in the spill file: offset and length in turn. */
type Places = Map<string, number[]>;

const MAX_UNREADABLE_NAMES = 100;
const FLUSH_BYTES = 1024 * 1024;

/** Fails with ADVISORY_DUMP_INVALID when there is no record at all, LIMIT_EXCEEDED beyond BOM_LIMITS. */
export async function importAdvisories(options: ImportOptions): Promise<ImportReport> {
  await files.mkdir(dirname(options.into), { recursive: true });
  const temporary = `${options.into}.${processInfo().pid}.tmp`;
  const spillPath = `${temporary}.spill`;
  try {
    const spill = new Appender(await files.open(spillPath, "w+"));
    try {
      const { places, ...report } = await spillRecords(options, spill);
      await writeIndex(temporary, spill, places, report.records);
      await files.rename(temporary, options.into);
      await syncFolder(dirname(options.into));
      return { ...report, packages: places.size };
    } finally {
      await spill.close();
    }
  } finally {
    await files.rm(spillPath, { force: true });
    await files.rm(temporary, { force: true });
  }
}

/** Writes behind a buffer, and knows where it is. */
class Appender {
  readonly handle: files.FileHandle;
  position = 0;
  #parts: Uint8Array[] = [];
  #held = 0;

  constructor(handle: files.FileHandle) {
    this.handle = handle;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#parts.push(bytes);
    this.#held += bytes.length;
    this.position += bytes.length;
    if (this.#held >= FLUSH_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#held = 0;
    await this.handle.write(bytes, 0, bytes.length, this.position - bytes.length);
  }

  async read(start: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    await this.handle.read(buffer, 0, length, start);
    return buffer;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

async function spillRecords(options: ImportOptions, spill: Appender) {
  const places: Places = new Map();
  const seen = new Set<string>();
  const unreadable: string[] = [];
  let records = 0;
  for (const path of options.from) {
    for await (const item of readDump(path)) {
      if (options.signal?.aborted) throw bomError("BOM_STOPPED");
      if ("document" in item) {
        records += await spillRecord(item.document, seen, places, spill);
        options.progress?.({ step: "import", done: records, total: 0, unit: "records" });
      } else if (unreadable.length < MAX_UNREADABLE_NAMES) unreadable.push(item.unreadable);
      if (records > BOM_LIMITS.advisoryRecords) throw bomError("ADVISORY_DUMP_INVALID", { detail: "too many records" });
    }
  }
  if (records === 0) throw bomError("ADVISORY_DUMP_INVALID", { detail: options.from.join(", ").slice(0, 200) });
  await spill.flush();
  return { places, records, unreadable };
}

/** A record that stands in two dumps counts once. Returns the number of records: 1 or 0. */
async function spillRecord(document: unknown, seen: Set<string>, places: Places, spill: Appender): Promise<number> {
  const affected = readAdvisory(document);
  const id = affected[0]?.record.id;
  if (id === undefined || seen.has(id)) return 0;
  seen.add(id);
  for (const { ecosystem, name, record } of affected) {
    const bytes = utf8(JSON.stringify(record));
    const key = packageKey(ecosystem, name);
    const list = places.get(key) ?? [];
    list.push(spill.position, bytes.length);
    places.set(key, list);
    await spill.append(bytes);
  }
  return 1;
}

async function writeIndex(path: string, spill: Appender, places: Places, records: number): Promise<void> {
  const handle = await files.open(path, "w");
  try {
    const out = new Appender(handle);
    await out.append(new Uint8Array(INDEX_LAYOUT.headerBytes));
    const entries: Buffer[] = [];
    for (const [key, list] of places) entries.push(await writeBlock(out, spill, key, list));
    const directory = Buffer.concat(entries.sort(Buffer.compare));
    const start = out.position;
    await out.append(directory);
    await out.flush();
    await handle.write(headerOf(start, entries.length, records, directory), 0, INDEX_LAYOUT.headerBytes, 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeBlock(out: Appender, spill: Appender, key: string, list: readonly number[]): Promise<Buffer> {
  const records: AdvisoryRecord[] = [];
  for (let index = 0; index < list.length; index += 2) {
    const bytes = await spill.read(list[index] ?? 0, list[index + 1] ?? 0);
    records.push(JSON.parse(bytes.toString("utf8")) as AdvisoryRecord);
  }
  const block = packBlock(key, records);
  const entry = Buffer.alloc(INDEX_LAYOUT.entryBytes);
  hashPackage(key).copy(entry);
  entry.writeBigUInt64LE(BigInt(out.position), 16);
  entry.writeUInt32LE(block.length, 24);
  entry.writeUInt32LE(crc32(block), 28);
  await out.append(block);
  return entry;
}

function headerOf(start: number, packages: number, records: number, directory: Buffer): Buffer {
  const numbers = [start, packages, records].map((value) => Buffer.from(uint64be(value)).reverse());
  const digest = createHash("sha256").update(directory).digest();
  return Buffer.concat([Buffer.from(INDEX_LAYOUT.magic, "latin1"), ...numbers, digest]);
}
