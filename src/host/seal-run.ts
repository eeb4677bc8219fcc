/** What a thread does with the records of a sealed file: reads, encrypts or decrypts, hashes and writes them in one memory. */
import { hash as hashOnce } from "node:crypto";
import { readSync, writeSync } from "node:fs";
import { AEAD_NONCE_BYTES, AEAD_TAG_BYTES, type AeadEngine, type AeadKey } from "./aead.ts";
import { loadBlake3, type StreamHash } from "./blake3.ts";
import { hostError } from "./errors.ts";

/** A record is head (4 bytes), nonce (12), ciphertext, tag (16). */
export const RECORD_HEAD_BYTES = 4;
export const RECORD_BODY_AT = RECORD_HEAD_BYTES + AEAD_NONCE_BYTES;
export const RECORD_OVERHEAD_BYTES = RECORD_BODY_AT + AEAD_TAG_BYTES;
export const LEAF_BYTES = 32;

export type LeafHash = "sha256" | "blake3";

export interface RecordPlan {
  readonly head: Uint8Array;
  readonly aad: Uint8Array;
  readonly plainBytes: number;
}

export interface SealPlan extends RecordPlan {
  readonly nonce: Uint8Array;
}

/** A file that every thread of this process can read or write at places of its own. */
export interface FilePlace {
  readonly descriptor: number;
  /** Of the first record, or of its plaintext, in bytes. */
  readonly at: number;
}

interface Task {
  /** 32 bytes, zeroed when the task is done. */
  readonly key: SharedArrayBuffer;
  /** Where the records are worked on. */
  readonly slot: SharedArrayBuffer;
  /** From record to record in the slot, in bytes; 0 when each may take the place of the one before. */
  readonly stride: number;
}

/** Without a source the slot holds the records already; without a sink the plaintext is left in it. */
export interface OpenTask extends Task {
  readonly kind: "open";
  readonly records: readonly RecordPlan[];
  readonly source?: FilePlace;
  readonly sink?: FilePlace;
  readonly leafHash: LeafHash;
  /** What the plaintext must hash to, 32 bytes for each record. */
  readonly leaves: Uint8Array;
}

/** The slot holds the plaintext where the ciphertext will be; without a sink the records are left in it. */
export interface SealTask extends Task {
  readonly kind: "seal";
  readonly records: readonly SealPlan[];
  readonly sink?: FilePlace;
  readonly leafHashes: readonly LeafHash[];
}

export type RecordTask = OpenTask | SealTask;

export interface RecordFailure {
  /** Which of the task's records. */
  readonly record: number;
  /** A file that ends too early, a wrong head or tag, a wrong hash, a system error, or the engine's own. */
  readonly why: "cut" | "tag" | "leaf" | "read" | "write" | "engine";
  /** Of the system error. */
  readonly code?: string;
}

/** Sealing: for each record the leaf of every asked hash, 32 bytes each. */
export type RecordResult = { readonly leaves: Uint8Array } | { readonly failed: RecordFailure };

/** Never throws. After a failure nothing of the record was written, and the slot holds no byte of it in the clear. */
export function runRecords(task: RecordTask, engine: AeadEngine): RecordResult {
  const bytes = new Uint8Array(task.key);
  const at = { record: 0 };
  let key: AeadKey | undefined;
  try {
    key = engine.key(bytes);
    return { leaves: task.kind === "open" ? openAll(task, key, at) : sealAll(task, key, at) };
  } catch (error) {
    new Uint8Array(task.slot).fill(0);
    return { failed: { record: at.record, ...reasonOf(error) } };
  } finally {
    bytes.fill(0);
    key?.wipe();
  }
}

function openAll(task: OpenTask, key: AeadKey, at: { record: number }): Uint8Array {
  const full = task.records[0]?.plainBytes ?? 0;
  for (const [index, plan] of task.records.entries()) {
    at.record = index;
    const record = recordAt(task, index, plan);
    if (task.source) readAll(task.source, index * (full + RECORD_OVERHEAD_BYTES), record);
    const plain = openRecord(key, plan, record);
    if (!plain) throw new Refused("tag");
    const leaf = task.leaves.subarray(index * LEAF_BYTES, (index + 1) * LEAF_BYTES);
    if (Buffer.compare(leaf, hashLeaf(task.leafHash, plain)) !== 0) throw new Refused("leaf");
    if (task.sink) writeAll(task.sink, index * full, plain);
  }
  return task.leaves;
}

function sealAll(task: SealTask, key: AeadKey, at: { record: number }): Uint8Array {
  const full = (task.records[0]?.plainBytes ?? 0) + RECORD_OVERHEAD_BYTES;
  const leaves: Uint8Array[] = [];
  for (const [index, plan] of task.records.entries()) {
    at.record = index;
    const record = recordAt(task, index, plan);
    const plain = record.subarray(RECORD_BODY_AT, RECORD_BODY_AT + plan.plainBytes);
    for (const name of task.leafHashes) leaves.push(hashLeaf(name, plain));
    sealRecord(key, plan, record);
    if (task.sink) writeAll(task.sink, index * full, record);
  }
  return new Uint8Array(Buffer.concat(leaves));
}

function recordAt(task: RecordTask, index: number, plan: RecordPlan): Uint8Array {
  return new Uint8Array(task.slot, index * task.stride, plan.plainBytes + RECORD_OVERHEAD_BYTES);
}

class Refused extends Error {
  readonly why: RecordFailure["why"];
  readonly code: string | undefined;

  constructor(why: RecordFailure["why"], cause?: unknown) {
    super(why);
    this.why = why;
    this.code = cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
  }
}

function reasonOf(error: unknown): Pick<RecordFailure, "why" | "code"> {
  if (!(error instanceof Refused)) return { why: "engine" };
  return error.code === undefined ? { why: error.why } : { why: error.why, code: error.code };
}

/** The plaintext where the ciphertext was; undefined, and zeros there, for a record with another head or tag. */
export function openRecord(key: AeadKey, { head, aad }: RecordPlan, record: Uint8Array): Uint8Array | undefined {
  const body = record.subarray(RECORD_BODY_AT, record.length - AEAD_TAG_BYTES);
  const nonce = record.subarray(RECORD_HEAD_BYTES, RECORD_BODY_AT);
  const isPlanned = head.every((byte, at) => byte === record[at]);
  if (isPlanned && key.open(nonce, aad, body, record.subarray(record.length - AEAD_TAG_BYTES))) return body;
  return undefined;
}

/** Makes a record of the plaintext that lies where the ciphertext will be. */
export function sealRecord(key: AeadKey, { head, aad, nonce }: SealPlan, record: Uint8Array): void {
  const body = record.subarray(RECORD_BODY_AT, record.length - AEAD_TAG_BYTES);
  record.set(head);
  record.set(nonce, RECORD_HEAD_BYTES);
  key.seal(nonce, aad, body, record.subarray(record.length - AEAD_TAG_BYTES));
}

/** Loaded with the first leaf; null where the package is not there. */
let blake3: (() => StreamHash) | null | undefined;

export function hasLeafHash(name: LeafHash): boolean {
  if (name === "sha256") return true;
  blake3 ??= loadBlake3() ?? null;
  return blake3 !== null;
}

export function hashLeaf(name: LeafHash, plain: Uint8Array): Uint8Array {
  if (name === "sha256") return hashOnce("sha256", plain, "buffer");
  blake3 ??= loadBlake3() ?? null;
  if (!blake3) throw hostError("BLAKE3_MISSING");
  const hasher = blake3();
  hasher.update(plain);
  return Buffer.from(hasher.digest("hex"), "hex");
}

function readAll({ descriptor, at }: FilePlace, offset: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const place = at + offset + done;
    const read = system("read", () => readSync(descriptor, bytes, done, bytes.length - done, place));
    if (read === 0) throw new Refused("cut");
    done += read;
  }
}

function writeAll({ descriptor, at }: FilePlace, offset: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const place = at + offset + done;
    done += system("write", () => writeSync(descriptor, bytes, done, bytes.length - done, place));
  }
}

function system<T>(why: "read" | "write", work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new Refused(why, error);
  }
}
