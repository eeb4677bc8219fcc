/** Reads OSV dumps: zip archives and folders with one JSON record per file. */
import { join } from "node:path";
import { openFileSource, openZipMember, walkZipMembers } from "../../artifact/index.ts";
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { files, readFileBounded, systemErrorCode } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";

/** A parsed record, or why a file was none. */
export type DumpItem = { readonly document: unknown } | { readonly unreadable: string };

const MAX_FOLDER_DEPTH = 16;
const RECORD_LIMITS = { maxBytes: BOM_LIMITS.advisoryBytes, maxDepth: 64, maxValues: BOM_LIMITS.advisoryValues };
/** Names of records beyond it are told; none below it has more values than it may. */
const NAMED_BYTES = 256 * 1024;

export interface ReadOptions {
  /** A record beyond it is too large, in bytes. */
  readonly recordBytes: number;
  /** Told of a record before it is parsed, where it is a large one. */
  readonly announce: (name: string) => void;
}

/** Records one at a time, so that a dump of any size takes the memory of one. Throws ADVISORY_TOO_LARGE. */
export async function* readDump(path: string, options: ReadOptions): AsyncGenerator<DumpItem> {
  const stat = await files.stat(path).catch((error: unknown) => {
    throw bomError("ADVISORY_DUMP_INVALID", {
      detail: `${path} (${systemErrorCode(error) ?? "unknown"})`,
      cause: error,
    });
  });
  if (stat.isDirectory()) yield* readFolder(path, 0, options);
  else if (path.endsWith(".json"))
    yield parseRecord(await readFileBounded(path, BOM_LIMITS.advisoryBytes), path, options);
  else yield* readZip(path, options);
}

async function* readFolder(path: string, depth: number, options: ReadOptions): AsyncGenerator<DumpItem> {
  if (depth > MAX_FOLDER_DEPTH) throw bomError("ADVISORY_DUMP_INVALID", { detail: `${path} is nested too deep` });
  for (const entry of await files.readdir(path, { withFileTypes: true })) {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) yield* readFolder(inner, depth + 1, options);
    else if (entry.isFile() && entry.name.endsWith(".json")) {
      yield parseRecord(await readFileBounded(inner, BOM_LIMITS.advisoryBytes), inner, options);
    } else if (entry.isFile() && entry.name.endsWith(".zip")) yield* readZip(inner, options);
  }
}

async function* readZip(path: string, options: ReadOptions): AsyncGenerator<DumpItem> {
  const source = await openFileSource(await files.realpath(path));
  try {
    let unpacked = 0;
    for (const member of walkZipMembers(source, BOM_LIMITS.advisoryRecords)) {
      if (!member.name.endsWith(".json")) continue;
      const content = openZipMember(source, member, BOM_LIMITS.advisoryBytes);
      unpacked += content.bytes;
      if (isTooFar(unpacked, source.bytes))
        throw bomError("ADVISORY_DUMP_INVALID", { detail: `${path} unpacks too far` });
      yield parseRecord(content.read(0, content.bytes), member.name, options);
    }
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code !== "HEADER_INVALID") throw error;
    throw bomError("ADVISORY_DUMP_INVALID", { detail: `${path}: ${error.message}`, cause: error });
  } finally {
    source.close();
  }
}

/** Members may lie upon each other, so that a small archive has no end. */
function isTooFar(unpackedBytes: number, archiveBytes: number): boolean {
  const { dumpUnpackedBytes, dumpFreeBytes, dumpRatio } = BOM_LIMITS;
  const most = Math.min(dumpUnpackedBytes, Math.max(dumpFreeBytes, archiveBytes * dumpRatio));
  return unpackedBytes > most;
}

function parseRecord(bytes: Uint8Array, name: string, options: ReadOptions): DumpItem {
  if (bytes.length > options.recordBytes) throw bomError("ADVISORY_TOO_LARGE", { detail: name });
  if (bytes.length > NAMED_BYTES) options.announce(name);
  try {
    return { document: parseJson(bytes, { ...RECORD_LIMITS, what: name }) };
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
    if (error.code === "LIMIT_EXCEEDED" && bytes.length > NAMED_BYTES)
      throw bomError("ADVISORY_TOO_LARGE", { detail: name, cause: error });
    return { unreadable: name };
  }
}
