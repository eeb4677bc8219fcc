/** Reads OSV dumps: zip archives and folders with one JSON record per file. */
import { join } from "node:path";
import { openFileSource, openZipMember, readZipDirectory } from "../../artifact/index.ts";
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { files, readFileBounded, systemErrorCode } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";

/** A parsed record, or why a file was none. */
export type DumpItem = { readonly document: unknown } | { readonly unreadable: string };

const MAX_FOLDER_DEPTH = 16;
const RECORD_DEPTH = 64;

/** Records one at a time, so that a dump of any size takes the memory of one. */
export async function* readDump(path: string): AsyncGenerator<DumpItem> {
  const stat = await files.stat(path).catch((error: unknown) => {
    throw bomError("ADVISORY_DUMP_INVALID", {
      detail: `${path} (${systemErrorCode(error) ?? "unknown"})`,
      cause: error,
    });
  });
  if (stat.isDirectory()) yield* readFolder(path, 0);
  else if (path.endsWith(".json")) yield parseRecord(await readFileBounded(path, BOM_LIMITS.advisoryBytes), path);
  else yield* readZip(path);
}

async function* readFolder(path: string, depth: number): AsyncGenerator<DumpItem> {
  if (depth > MAX_FOLDER_DEPTH) throw bomError("ADVISORY_DUMP_INVALID", { detail: `${path} is nested too deep` });
  for (const entry of await files.readdir(path, { withFileTypes: true })) {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) yield* readFolder(inner, depth + 1);
    else if (entry.isFile() && entry.name.endsWith(".json")) {
      yield parseRecord(await readFileBounded(inner, BOM_LIMITS.advisoryBytes), inner);
    } else if (entry.isFile() && entry.name.endsWith(".zip")) yield* readZip(inner);
  }
}

async function* readZip(path: string): AsyncGenerator<DumpItem> {
  const source = await openFileSource(await files.realpath(path));
  try {
    const { members } = readZipDirectory(source, BOM_LIMITS.advisoryRecords);
    for (const member of members) {
      if (!member.name.endsWith(".json")) continue;
      const content = openZipMember(source, member, BOM_LIMITS.advisoryBytes);
      yield parseRecord(content.read(0, content.bytes), member.name);
    }
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code !== "HEADER_INVALID") throw error;
    throw bomError("ADVISORY_DUMP_INVALID", { detail: `${path}: ${error.message}`, cause: error });
  } finally {
    source.close();
  }
}

function parseRecord(bytes: Uint8Array, name: string): DumpItem {
  try {
    return { document: parseJson(bytes, { maxBytes: BOM_LIMITS.advisoryBytes, maxDepth: RECORD_DEPTH, what: name }) };
  } catch (error) {
    if (error instanceof ModelkeepError) return { unreadable: name };
    throw error;
  }
}
