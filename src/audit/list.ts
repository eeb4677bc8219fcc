/** Reads the log backwards and picks the entries that a question asks for. */
import type { RecordTransaction } from "../store/index.ts";
import type { AuditPage, AuditQuery } from "./audit.ts";
import { readLeaves } from "./entries.ts";
import { type AuditEntry, parseLeaf } from "./entry.ts";
import { auditError } from "./errors.ts";
import { AUDIT_LIMITS } from "./limits.ts";

/** Entries that are read in one go. */
const WINDOW = AUDIT_LIMITS.batchEvents;

/** Newest first; stops at the limit, at the beginning, or when it has looked at enough. */
export async function listEntries(
  reader: Pick<RecordTransaction, "list">,
  query: AuditQuery,
  size: number,
): Promise<AuditPage> {
  const limit = Math.min(query.limit ?? AUDIT_LIMITS.listedEntries, AUDIT_LIMITS.listedEntries);
  const newest = Math.min(query.before ?? size, size);
  const oldest = Math.max(0, newest - AUDIT_LIMITS.scannedEntries);
  const found: AuditEntry[] = [];
  for (let end = newest; end > oldest; end -= WINDOW) {
    for (const entry of await readWindow(reader, Math.max(oldest, end - WINDOW), end)) {
      if (!matches(entry, query)) continue;
      found.push(entry);
      if (found.length === limit) return entry.index > 0 ? { entries: found, next: entry.index } : { entries: found };
    }
  }
  return oldest > 0 ? { entries: found, next: oldest } : { entries: found };
}

async function readWindow(
  reader: Pick<RecordTransaction, "list">,
  start: number,
  end: number,
): Promise<readonly AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for await (const { index, leaf } of readLeaves(reader, start, end)) {
    const entry = parseLeaf(leaf);
    if (entry?.index !== index) throw auditError("AUDIT_TAMPERED", { detail: `entry ${index} is damaged` });
    entries.push(entry);
  }
  return entries.reverse();
}

function matches({ event }: AuditEntry, { action, outcome, principal, model }: AuditQuery): boolean {
  return (
    (action === undefined || event.action === action) &&
    (outcome === undefined || event.outcome === outcome) &&
    (principal === undefined || event.principal === principal) &&
    (model === undefined || event.modelRoot === model || event.resource === `Model::${JSON.stringify(model)}`)
  );
}
