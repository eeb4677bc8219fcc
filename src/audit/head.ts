/** The newest checkpoint in the store, and the edge of the tree that it signs. */
import { equalBytes, fromUtf8, utf8 } from "../base/index.ts";
import type { RecordTransaction } from "../store/index.ts";
import type { SignedCheckpoint } from "./audit.ts";
import { verifyCheckpoint } from "./checkpoint.ts";
import { auditError } from "./errors.ts";
import type { CheckpointSigner } from "./signer.ts";
import { loadEdge, type TileReader, type TreeEdge } from "./tiles.ts";

const TABLE = "audit-head";
const ID = "checkpoint";

export interface Head extends SignedCheckpoint {
  /** Version of the record: what an append must still find. */
  readonly version: number;
}

/** Undefined before the first checkpoint. Throws AUDIT_TAMPERED when the log's key did not sign it. */
export async function readHead(reader: TileReader, signer: CheckpointSigner, known?: Head): Promise<Head | undefined> {
  const record = await reader.get(TABLE, ID);
  if (!record) return undefined;
  const note = fromUtf8(record.value);
  if (known && known.version === record.version && known.note === note) return known;
  const checkpoint = verifyCheckpoint(note, signer.key);
  if (!checkpoint) throw auditError("AUDIT_TAMPERED", { detail: "the stored checkpoint is not signed by this log" });
  return { size: checkpoint.size, root: checkpoint.root, note, version: record.version };
}

/** Signs and writes; the record must still be at `version`. */
export async function writeHead(
  tx: Pick<RecordTransaction, "put">,
  signer: CheckpointSigner,
  edge: TreeEdge,
  version: number,
): Promise<Head> {
  const root = edge.root();
  const note = signer.sign({ size: edge.size, root });
  return { size: edge.size, root, note, version: await tx.put(TABLE, ID, utf8(note), { ifVersion: version }) };
}

/**
 * The edge under a head, checked: its root is the signed one, and the log only grew since `seen`, the last head that
 * this process knows. Throws AUDIT_TAMPERED.
 */
export async function openEdge(reader: TileReader, head: Head, seen: SignedCheckpoint | undefined): Promise<TreeEdge> {
  const edge = await loadEdge(reader, head.size);
  if (!equalBytes(edge.root(), head.root))
    throw damaged(`the tree of ${head.size} entries has another root than was signed`);
  if (!seen) return edge;
  if (seen.size > head.size) throw damaged(`it has ${head.size} entries and had ${seen.size}`);
  const before = await loadEdge(reader, seen.size);
  if (!equalBytes(before.root(), seen.root)) throw damaged(`the first ${seen.size} entries are not the same as before`);
  return edge;
}

function damaged(detail: string) {
  return auditError("AUDIT_TAMPERED", { detail });
}
