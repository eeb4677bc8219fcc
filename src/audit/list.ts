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
    // Others get their turn: an embedded database answers without one.
    await new Promise((resolve) => setImmediate(resolve));
    for (const entry of await readWindow(reader, query, Math.max(oldest, end - WINDOW), end)) {
      found.push(entry);
      if (found.length === limit) return entry.index > 0 ? { entries: found, next: entry.index } : { entries: found };
    }
  }
  return oldest > 0 ? { entries: found, next: oldest } : { entries: found };
}

/** Only what matches is checked in full: the store has authenticated the bytes, and most entries are passed over. */
async function readWindow(
  reader: Pick<RecordTransaction, "list">,
  query: AuditQuery,
  start: number,
  end: number,
): Promise<readonly AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for await (const { index, leaf } of readLeaves(reader, start, end)) {
    if (!mayMatch(leaf, query)) continue;
    const entry = parseLeaf(leaf);
    if (entry?.index !== index) throw auditError("AUDIT_TAMPERED", { detail: `entry ${index} is damaged` });
    if (matches(entry, query)) entries.push(entry);
  }
  return entries.reverse();
}

/** A leaf that matches holds the JSON text of every value that was asked for. */
function mayMatch(leaf: Uint8Array, { action, outcome, principal, model }: AuditQuery): boolean {
  const buffer = Buffer.from(leaf.buffer, leaf.byteOffset, leaf.length);
  const inner = (value: string) => JSON.stringify(value).slice(1, -1);
  return (
    [action, outcome, principal].every((value) => value === undefined || buffer.includes(JSON.stringify(value))) &&
    (model === undefined || buffer.includes(inner(inner(model))))
  );
}

function matches({ event }: AuditEntry, { action, outcome, principal, model }: AuditQuery): boolean {
  return (
    (action === undefined || event.action === action) &&
    (outcome === undefined || event.outcome === outcome) &&
    (principal === undefined || event.principal === principal) &&
    (model === undefined || event.modelRoot === model || event.resource === `Model::${JSON.stringify(model)}`)
  );
}
