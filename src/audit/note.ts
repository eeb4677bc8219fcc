/** Signed notes and verifier keys with Ed25519: C2SP signed-note v1. */
import { createPublicKey, hash, type KeyObject, verify } from "node:crypto";
import { concatBytes, equalBytes, fromBase64, fromHex, fromUtf8, toBase64, toHex, utf8 } from "../base/index.ts";
import { auditError } from "./errors.ts";
import { AUDIT_LIMITS } from "./limits.ts";

/** Signature type 0x01 is Ed25519. */
const ED25519 = 0x01;
const KEY_BYTES = 32;
const KEY_HASH_BYTES = 4;
const SIGNATURE_BYTES = 64;
const SPKI_PREFIX = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);
const SIGNATURE_LINE = /^\u2014 ([^ ]+) ([A-Za-z0-9+/=]+)$/;

export interface VerifierKey {
  readonly name: string;
  /** First four bytes of SHA-256 over name, newline, type and key. */
  readonly keyHash: Uint8Array;
  readonly publicKey: KeyObject;
  /** `name+hash+base64`. */
  readonly text: string;
}

export interface SignedNote {
  /** Ends with a newline; what is signed. */
  readonly text: string;
  readonly signatures: readonly {
    readonly name: string;
    readonly keyHash: Uint8Array;
    readonly signature: Uint8Array;
  }[];
}

/** The name of a key, and of a log: not empty, no space, no plus sign. */
export function isKeyName(name: string): boolean {
  return name.length > 0 && Buffer.byteLength(name) <= AUDIT_LIMITS.originBytes && !/[\s+\p{Cc}\p{Zs}]/u.test(name);
}

/** `publicKey` is the 32 bytes of RFC 8032. */
export function makeVerifierKey(name: string, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name) || publicKey.length !== KEY_BYTES) throw auditError("AUDIT_KEY_INVALID");
  const typed = concatBytes(Uint8Array.of(ED25519), publicKey);
  const keyHash = new Uint8Array(hash("sha256", concatBytes(utf8(`${name}\n`), typed), "buffer")).slice(
    0,
    KEY_HASH_BYTES,
  );
  return {
    name,
    keyHash,
    publicKey: createPublicKey({ key: Buffer.from(concatBytes(SPKI_PREFIX, publicKey)), format: "der", type: "spki" }),
    text: `${name}+${toHex(keyHash)}+${toBase64(typed)}`,
  };
}

/** Throws AUDIT_KEY_INVALID. */
export function parseVerifierKey(text: string): VerifierKey {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const typed = fromBase64(match?.[3] ?? "");
  if (!match || text.length > AUDIT_LIMITS.verifierKeyCharacters || typed?.[0] !== ED25519) {
    throw auditError("AUDIT_KEY_INVALID", { detail: text.slice(0, 80) });
  }
  const key = makeVerifierKey(match[1] ?? "", typed.subarray(1));
  if (!equalBytes(key.keyHash, fromHex(match[2] ?? "") ?? new Uint8Array(0))) {
    throw auditError("AUDIT_KEY_INVALID", { detail: "its hash belongs to another name or key" });
  }
  return key;
}

/** `text` ends with a newline; `signature` is over its UTF-8 bytes. */
export function formatNote(text: string, key: Pick<VerifierKey, "name" | "keyHash">, signature: Uint8Array): string {
  return `${text}\n\u2014 ${key.name} ${toBase64(concatBytes(key.keyHash, signature))}\n`;
}

/** Throws AUDIT_NOTE_INVALID; says nothing about the signatures yet. */
export function parseNote(input: string | Uint8Array): SignedNote {
  const note = typeof input === "string" ? input : decode(input);
  const at = note.lastIndexOf("\n\n");
  const lines = note.slice(at + 2).split("\n");
  if (Buffer.byteLength(note) > AUDIT_LIMITS.noteBytes || at < 1 || lines.pop() !== "" || !isPrintable(note))
    throw invalid();
  if (lines.length === 0 || lines.length > AUDIT_LIMITS.noteSignatures) throw invalid();
  return { text: note.slice(0, at + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line: string): SignedNote["signatures"][number] {
  const match = SIGNATURE_LINE.exec(line);
  const bytes = fromBase64(match?.[2] ?? "");
  if (!match || !bytes || bytes.length <= KEY_HASH_BYTES) throw invalid();
  const [keyHash, signature] = [bytes.subarray(0, KEY_HASH_BYTES), bytes.subarray(KEY_HASH_BYTES)];
  return { name: match[1] ?? "", keyHash, signature };
}

/** Signatures by keys of another name or hash are passed over; of this key there must be exactly one, and it must hold. */
export function verifyNote(note: SignedNote, key: VerifierKey): boolean {
  const own = note.signatures.filter(({ name, keyHash }) => name === key.name && equalBytes(keyHash, key.keyHash));
  const [signature] = own;
  if (!signature || own.length > 1 || signature.signature.length !== SIGNATURE_BYTES) return false;
  return verify(null, utf8(note.text), key.publicKey, signature.signature);
}

function decode(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch (error) {
    throw auditError("AUDIT_NOTE_INVALID", { detail: "it is not UTF-8", cause: error });
  }
}

/** Section "Format": no ASCII control character but the newline. */
function isPrintable(note: string): boolean {
  return note.isWellFormed() && !/[^\P{Cc}\n]/u.test(note);
}

function invalid() {
  return auditError("AUDIT_NOTE_INVALID");
}
