/** What the audit log promises: events that are durable when `record` resolves, in a tree that shows every change. */
import type { AuditEvent, Clock, Log, Random, Recorder } from "../base/index.ts";
import type { RecordStore } from "../store/index.ts";
import type { AuditEntry } from "./entry.ts";

export interface AuditPorts {
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Name of the log in its checkpoints, for example `keep.example.org/audit`; used when the log is made. */
  readonly origin: string;
}

/** Every given field must match. */
export interface AuditQuery {
  readonly action?: string;
  readonly outcome?: AuditEvent["outcome"];
  readonly principal?: string;
  /** `name@version`, or the hex root digest of a model. */
  readonly model?: string;
  /** At most AUDIT_LIMITS.listedEntries. */
  readonly limit?: number;
  /** Only entries with a smaller index. */
  readonly before?: number;
}

export interface AuditPage {
  /** Newest first. */
  readonly entries: readonly AuditEntry[];
  /** Pass as `before` to go on; absent when the log was read to its beginning. */
  readonly next?: number;
}

export interface SignedCheckpoint {
  readonly size: number;
  readonly root: Uint8Array;
  /** C2SP tlog-checkpoint in a signed note. */
  readonly note: string;
}

export interface LeafPage {
  /** Leaf bytes, in order from the asked index. */
  readonly leaves: readonly Uint8Array[];
  /** Index to go on with; absent at the end that was asked for. */
  readonly next?: number;
}

export interface InclusionProof {
  readonly index: number;
  readonly size: number;
  readonly leaf: Uint8Array;
  readonly hashes: readonly Uint8Array[];
}

export interface ConsistencyProof {
  readonly fromSize: number;
  readonly toSize: number;
  readonly hashes: readonly Uint8Array[];
}

export interface AuditLog extends Recorder {
  /** C2SP vkey: `name+hash+base64`. */
  readonly verifierKey: string;
  readonly origin: string;
  list(query?: AuditQuery): Promise<AuditPage>;
  /** The newest. */
  checkpoint(): Promise<SignedCheckpoint>;
  /** Leaves from `start` to `end`, exclusive, as many as one page holds. Throws AUDIT_RANGE_INVALID, AUDIT_TAMPERED. */
  leaves(start: number, end: number): Promise<LeafPage>;
  /** RFC 9162, section 2.1.3; the size is that of the newest checkpoint unless given. Throws AUDIT_RANGE_INVALID. */
  inclusionProof(index: number, size?: number): Promise<InclusionProof>;
  /** RFC 9162, section 2.1.4. */
  consistencyProof(fromSize: number, toSize?: number): Promise<ConsistencyProof>;
  /** Lines of an export file, each with its newline. */
  exportLines(): AsyncIterable<Uint8Array>;
  /** Writes what waits, then refuses; wipes the key. The store stays open. */
  close(): Promise<void>;
}
