/** The export file: a line that names the log, a line per leaf, and a line with the checkpoint. */
import { concatBytes, utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import type { AuditLog, LeafPage, SignedCheckpoint } from "./audit.ts";

export const EXPORT_FORMAT = "modelkeep-audit-export-v1";
const NEWLINE = utf8("\n");

/** What an export is made of: the log itself, or a client of its server. */
export interface ExportSource {
  readonly verifierKey: string;
  checkpoint(): Promise<Pick<SignedCheckpoint, "size" | "note">>;
  leaves(start: number, end: number): Promise<LeafPage>;
}

/** Lines with their newline. What is recorded while the export runs is left to the next one. */
export async function* exportLog(source: ExportSource | AuditLog): AsyncGenerator<Uint8Array> {
  const { size, note } = await source.checkpoint();
  yield line(jcs({ format: EXPORT_FORMAT, key: source.verifierKey, size }));
  for (let next: number | undefined = 0; next !== undefined && next < size; ) {
    const page: LeafPage = await source.leaves(next, size);
    for (const leaf of page.leaves) yield line(leaf);
    next = page.next;
  }
  yield line(jcs({ checkpoint: note }));
}

function line(bytes: Uint8Array): Uint8Array {
  return concatBytes(bytes, NEWLINE);
}
