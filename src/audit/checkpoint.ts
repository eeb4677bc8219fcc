/** Checkpoints: name of the log, size and root, as C2SP tlog-checkpoint prints them. */
import { fromBase64, toBase64 } from "../base/index.ts";
import { auditError } from "./errors.ts";
import { HASH_BYTES } from "./merkle.ts";
import { parseNote, type VerifierKey, verifyNote } from "./note.ts";

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

declare const verified: unique symbol;

/** Its signature was checked; only `verifyCheckpoint` makes one. */
export interface VerifiedCheckpoint extends Checkpoint {
  readonly [verified]: true;
}

export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/** Throws AUDIT_NOTE_INVALID. Lines after the root are extensions and passed over. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = "", sizeText = "", rootText = ""] = text.split("\n");
  const size = /^(0|[1-9][0-9]{0,15})$/.test(sizeText) ? Number(sizeText) : Number.NaN;
  const root = fromBase64(rootText);
  if (origin === "" || !Number.isSafeInteger(size) || root?.length !== HASH_BYTES)
    throw auditError("AUDIT_NOTE_INVALID");
  return { origin, size, root };
}

/** Undefined when the signature or the origin is not the key's. Throws AUDIT_NOTE_INVALID when it is no checkpoint. */
export function verifyCheckpoint(note: string | Uint8Array, key: VerifierKey): VerifiedCheckpoint | undefined {
  const signed = parseNote(note);
  const checkpoint = parseCheckpoint(signed.text);
  if (checkpoint.origin !== key.name || !verifyNote(signed, key)) return undefined;
  return checkpoint as VerifiedCheckpoint;
}
