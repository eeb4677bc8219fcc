/** The audit log over a store of records, which several replicas may share. */
import type { AuditEvent } from "../base/index.ts";
import type { RecordTransaction } from "../store/index.ts";
import type {
  AuditLog,
  AuditPage,
  AuditPorts,
  AuditQuery,
  ConsistencyProof,
  InclusionProof,
  LeafPage,
  SignedCheckpoint,
} from "./audit.ts";
import { Batcher } from "./batcher.ts";
import { putLeaves, readLeaves } from "./entries.ts";
import { leafOf, type PreparedEvent, prepareEvent } from "./entry.ts";
import { auditError } from "./errors.ts";
import { exportLog } from "./export.ts";
import { type Head, openEdge, readHead, writeHead } from "./head.ts";
import { AUDIT_LIMITS } from "./limits.ts";
import { listEntries } from "./list.ts";
import { hashLeaf } from "./merkle.ts";
import { isKeyName } from "./note.ts";
import { makeConsistencyProof, makeInclusionProof } from "./proofs.ts";
import { type CheckpointSigner, openSigner } from "./signer.ts";
import { nodesOf, TreeEdge } from "./tiles.ts";

/** Makes the log and its key on first use. Throws AUDIT_TAMPERED when what is stored does not hold together. */
export async function openAuditLog(ports: AuditPorts): Promise<AuditLog> {
  if (!isKeyName(ports.origin)) throw auditError("AUDIT_ORIGIN_INVALID", { detail: ports.origin.slice(0, 80) });
  const signer = await openSigner(ports.store, ports.random, ports.origin);
  if (signer.key.name !== ports.origin) {
    ports.log.warn("the audit log keeps the name it was made with", { origin: signer.key.name, asked: ports.origin });
  }
  const log = new StoredAuditLog(ports, signer);
  try {
    await log.start();
    return log;
  } catch (error) {
    signer.wipe();
    throw error;
  }
}

interface Known {
  readonly head: Head;
  readonly edge: TreeEdge;
}

class StoredAuditLog implements AuditLog {
  readonly #ports: AuditPorts;
  readonly #signer: CheckpointSigner;
  readonly #batcher = new Batcher<PreparedEvent>((events) => this.#append(events));
  /** The newest state that this process wrote or checked; another replica may be ahead. */
  #known: Known | undefined;

  constructor(ports: AuditPorts, signer: CheckpointSigner) {
    this.#ports = ports;
    this.#signer = signer;
  }

  get verifierKey(): string {
    return this.#signer.key.text;
  }

  get origin(): string {
    return this.#signer.key.name;
  }

  async start(): Promise<void> {
    this.#known = await this.#ports.store.transaction((tx) => this.#current(tx));
  }

  async record(event: AuditEvent): Promise<void> {
    await this.#batcher.add(prepareEvent(event, this.#ports.clock.now()));
  }

  /** Leaves, tiles and checkpoint in one transaction: all are there or none is. */
  async #append(events: readonly PreparedEvent[]): Promise<void> {
    this.#known = await this.#ports.store.transaction(async (tx) => {
      const { head, edge: before } = await this.#current(tx);
      const edge = before.clone();
      const leaves = events.map((event, i) => leafOf(event, head.size + i));
      for (const leaf of leaves) edge.push(hashLeaf(leaf));
      await putLeaves(tx, head.size, leaves);
      await edge.save(tx);
      return { head: await writeHead(tx, this.#signer, edge, head.version), edge };
    });
  }

  async #current(tx: RecordTransaction): Promise<Known> {
    const known = this.#known;
    const head = await readHead(tx, this.#signer, known?.head);
    if (known && head === known.head) return known;
    if (head) return { head, edge: await openEdge(tx, head, known?.head) };
    if (known) throw auditError("AUDIT_TAMPERED", { detail: "the stored checkpoint is gone" });
    if ((await tx.list("audit-entries", { limit: 1 })).records.length > 0)
      throw auditError("AUDIT_TAMPERED", { detail: "there are entries and no checkpoint" });
    const edge = new TreeEdge();
    return { head: await writeHead(tx, this.#signer, edge, 0), edge };
  }

  async checkpoint(): Promise<SignedCheckpoint> {
    const head = await readHead(this.#ports.store, this.#signer, this.#known?.head);
    if (!head) throw auditError("AUDIT_TAMPERED", { detail: "the stored checkpoint is gone" });
    return { size: head.size, root: head.root, note: head.note };
  }

  async list(query: AuditQuery = {}): Promise<AuditPage> {
    const { size } = await this.checkpoint();
    return listEntries(this.#ports.store, query, size);
  }

  async leaves(start: number, end: number): Promise<LeafPage> {
    const { size } = await this.checkpoint();
    if (start > end || end > size) throw outside(`${start} to ${end} of ${size}`);
    const leaves: Uint8Array[] = [];
    let bytes = 0;
    for await (const { leaf } of readLeaves(this.#ports.store, start, end)) {
      leaves.push(leaf);
      bytes += leaf.length;
      if (leaves.length === AUDIT_LIMITS.pageLeaves || bytes >= AUDIT_LIMITS.pageBytes) break;
    }
    const next = start + leaves.length;
    return next < end ? { leaves, next } : { leaves };
  }

  async inclusionProof(index: number, size?: number): Promise<InclusionProof> {
    const newest = (await this.checkpoint()).size;
    const of = size ?? newest;
    if (of > newest || index >= of) throw outside(`entry ${index} of ${of}`);
    const { leaves } = await this.leaves(index, index + 1);
    const hashes = await makeInclusionProof(nodesOf(this.#ports.store), index, of);
    return { index, size: of, leaf: leaves[0] ?? new Uint8Array(0), hashes };
  }

  async consistencyProof(fromSize: number, toSize?: number): Promise<ConsistencyProof> {
    const newest = (await this.checkpoint()).size;
    const to = toSize ?? newest;
    if (to > newest || fromSize > to) throw outside(`from ${fromSize} to ${to} of ${newest}`);
    const hashes = fromSize === 0 ? [] : await makeConsistencyProof(nodesOf(this.#ports.store), fromSize, to);
    return { fromSize, toSize: to, hashes };
  }

  exportLines(): AsyncIterable<Uint8Array> {
    return exportLog(this);
  }

  async close(): Promise<void> {
    await this.#batcher.close();
    this.#signer.wipe();
  }
}

function outside(detail: string) {
  return auditError("AUDIT_RANGE_INVALID", { detail });
}
