/** Leaves in the store: one record per batch, found by the index of its first leaf. */
import { concatBytes, utf8 } from "../base/index.ts";
import type { RecordTransaction, StoredRecord } from "../store/index.ts";
import { auditError } from "./errors.ts";
import { AUDIT_LIMITS } from "./limits.ts";

const TABLE = "audit-entries";
const NEWLINE = 0x0a;
const NEWLINE_BYTES = utf8("\n");

export interface StoredLeaf {
  readonly index: number;
  readonly leaf: Uint8Array;
}

/** Canonical JSON has no newline, so one ends every leaf. */
export async function putLeaves(
  tx: Pick<RecordTransaction, "put">,
  first: number,
  leaves: readonly Uint8Array[],
): Promise<void> {
  const value = concatBytes(...leaves.flatMap((leaf) => [leaf, NEWLINE_BYTES]));
  await tx.put(TABLE, entryId(first), value, { ifVersion: 0 });
}

/** Leaves from `start` to `end`, exclusive, in order: batch by batch. Throws AUDIT_TAMPERED at the first that is missing. */
export async function* readLeaves(
  reader: Pick<RecordTransaction, "list">,
  start: number,
  end: number,
): AsyncGenerator<StoredLeaf> {
  let wanted = start;
  // The batch that holds `start` began at most one batch earlier.
  let after = start < AUDIT_LIMITS.batchEvents ? undefined : entryId(start - AUDIT_LIMITS.batchEvents);
  // Batches may hold one leaf or hundreds: a short range must not read dozens of large ones.
  for (let limit = 1; wanted < end; limit = Math.min(limit * 2, AUDIT_LIMITS.readBatches)) {
    const page = await reader.list(TABLE, { ...(after === undefined ? {} : { after }), limit });
    for (const record of page.records) {
      for (const { index, leaf } of leavesOf(record)) {
        if (index < wanted) continue;
        if (index > wanted) throw missing(wanted);
        if (wanted === end) return;
        wanted++;
        yield { index, leaf };
      }
    }
    if (page.next === undefined) break;
    after = page.next;
  }
  if (wanted < end) throw missing(wanted);
}

function leavesOf(record: StoredRecord): StoredLeaf[] {
  const first = Number(record.id);
  const leaves: StoredLeaf[] = [];
  let start = 0;
  for (let end = record.value.indexOf(NEWLINE); end !== -1; end = record.value.indexOf(NEWLINE, start)) {
    leaves.push({ index: first + leaves.length, leaf: record.value.subarray(start, end) });
    start = end + 1;
  }
  return leaves;
}

function entryId(index: number): string {
  return String(index).padStart(16, "0");
}

function missing(index: number) {
  return auditError("AUDIT_TAMPERED", { detail: `entry ${index} is gone` });
}
