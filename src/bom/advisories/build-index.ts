/** Builds an index of advisories in a file of its own; the records pass through another file, so that memory stays small. */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { uint64be, utf8 } from "../../base/index.ts";
import { files } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { BlockPacker } from "./block.ts";
import { readDump } from "./dump.ts";
import { INDEX_LAYOUT } from "./index-file.ts";
import { type AdvisoryRecord, packageKey, readAdvisory } from "./record.ts";
import { Appender, Entries, HashSet, type Piece, Places, shortHash } from "./spill.ts";

export interface BuildPlan {
  readonly from: readonly string[];
  readonly index: string;
  readonly spill: string;
  /** Of the largest record, in bytes. */
  readonly recordBytes: number;
  /** How many packages there may be: an index of more is refused when it is opened. */
  readonly packages: number;
}

/** How far it is: records so far, or a record that is large enough to be named if it should be too large. */
export type BuildNews = { readonly records: number } | { readonly reading: string };

export interface ImportReport {
  readonly records: number;
  readonly packages: number;
  /** Names of files that were no records. */
  readonly unreadable: readonly string[];
}

const MAX_UNREADABLE_NAMES = 100;
const RECORDS_PER_NEWS = 200;

/** The signal is looked at between two records. */
export async function buildIndex(
  plan: BuildPlan,
  tell: (news: BuildNews) => void,
  signal?: AbortSignal,
): Promise<ImportReport> {
  const spill = new Appender(await files.open(plan.spill, "w+"));
  try {
    const { places, ecosystems, ...report } = await spillRecords(plan, spill, tell, signal);
    const entries = await writeIndex(plan, spill, places, report.records);
    return { ...report, packages: entries - ecosystems };
  } finally {
    await spill.close();
  }
}

async function spillRecords(
  { from, recordBytes }: BuildPlan,
  spill: Appender,
  tell: (news: BuildNews) => void,
  signal: AbortSignal | undefined,
) {
  const announce = (name: string) => tell({ reading: name });
  const places = new Places();
  const seen = { ids: new HashSet(), ecosystems: new Set<string>() };
  const unreadable: string[] = [];
  let records = 0;
  for (const path of from) {
    for await (const item of readDump(path, { recordBytes, announce })) {
      if (signal?.aborted) throw bomError("BOM_STOPPED");
      if ("document" in item) {
        records += await spillRecord(item.document, seen, places, spill);
        if (records % RECORDS_PER_NEWS === 0) tell({ records });
      } else if (unreadable.length < MAX_UNREADABLE_NAMES) unreadable.push(item.unreadable);
      if (records > BOM_LIMITS.advisoryRecords) throw bomError("ADVISORY_DUMP_INVALID", { detail: "too many records" });
    }
  }
  if (records === 0) throw bomError("ADVISORY_DUMP_INVALID", { detail: from.join(", ").slice(0, 200) });
  await spill.flush();
  tell({ records });
  return { places, records, unreadable, ecosystems: seen.ecosystems.size };
}

/** A record that stands in two dumps counts once. Returns the number of records: 1 or 0. */
async function spillRecord(document: unknown, seen: Seen, places: Places, spill: Appender): Promise<number> {
  const affected = readAdvisory(document);
  const id = affected[0]?.record.id;
  if (id === undefined || !seen.ids.add(shortHash(id))) return 0;
  const put = async (key: string, what: AdvisoryRecord | null) => {
    const bytes = utf8(JSON.stringify([key, what]));
    places.add(shortHash(key), { start: spill.position, length: bytes.length });
    await spill.append(bytes);
  };
  for (const { ecosystem, name, record } of affected) {
    if (!seen.ecosystems.has(ecosystem)) await put(packageKey(ecosystem, ""), null);
    seen.ecosystems.add(ecosystem);
    await put(packageKey(ecosystem, name), record);
  }
  return 1;
}

interface Seen {
  readonly ids: HashSet;
  /** With an entry without records each, by which the index knows what it covers. */
  readonly ecosystems: Set<string>;
}

/** Returns the number of entries. */
async function writeIndex(plan: BuildPlan, spill: Appender, places: Places, records: number): Promise<number> {
  const handle = await files.open(plan.index, "w");
  try {
    const out = new Appender(handle);
    await out.append(new Uint8Array(INDEX_LAYOUT.headerBytes));
    const directory = new Entries();
    for (const { hash, pieces } of places.groups()) {
      if (directory.count >= plan.packages)
        throw bomError("ADVISORY_DUMP_INVALID", { detail: `over ${plan.packages} packages` });
      const block = await packPieces(spill, pieces);
      const entry = directory.next();
      hash.copy(entry);
      entry.writeBigUInt64LE(BigInt(out.position), 16);
      entry.writeUInt32LE(block.length, 24);
      entry.writeUInt32LE(crc32(block), 28);
      await out.append(block);
    }
    const start = out.position;
    await out.append(directory.all());
    await out.flush();
    const header = headerOf(start, directory.count, records, directory.all());
    await handle.write(header, 0, INDEX_LAYOUT.headerBytes, 0);
    await handle.sync();
    return directory.count;
  } finally {
    await handle.close();
  }
}

async function packPieces(spill: Appender, pieces: readonly Piece[]): Promise<Buffer> {
  let packer: BlockPacker | undefined;
  for (const { start, length } of pieces) {
    const bytes = await spill.read(start, length);
    const [key, record] = JSON.parse(bytes.toString("utf8")) as [string, AdvisoryRecord | null];
    packer ??= new BlockPacker(key);
    if (record && packer.add(record) > BOM_LIMITS.packageBlockBytes)
      throw bomError("ADVISORY_TOO_LARGE", { detail: `all of ${key.replace("\n", " ")}` });
  }
  return packer?.pack() ?? Buffer.alloc(0);
}

function headerOf(start: number, packages: number, records: number, directory: Buffer): Buffer {
  const numbers = [start, packages, records].map((value) => Buffer.from(uint64be(value)).reverse());
  const digest = createHash("sha256").update(directory).digest();
  return Buffer.concat([Buffer.from(INDEX_LAYOUT.magic, "latin1"), ...numbers, digest]);
}
