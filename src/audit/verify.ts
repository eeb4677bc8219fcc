/** Verifies an export offline: every leaf, the root, the signature, and that the log only grew since an older checkpoint. */
import { z } from "zod";
import { equalBytes, ModelkeepError, parseJson } from "../base/index.ts";
import { parseCheckpoint, type VerifiedCheckpoint, verifyCheckpoint } from "./checkpoint.ts";
import { parseLeaf } from "./entry.ts";
import { auditError } from "./errors.ts";
import { EXPORT_FORMAT } from "./export.ts";
import { AUDIT_LIMITS } from "./limits.ts";
import { Frontier, hashLeaf } from "./merkle.ts";
import { parseNote, parseVerifierKey, type VerifierKey } from "./note.ts";

export interface VerifyAuditOptions {
  /** The key that the reader trusts, as `name+hash+base64`; without it the file's own, which proves less. */
  readonly key?: string;
  /** Older checkpoints of the same log, as signed notes: the log must have grown out of each. */
  readonly since?: readonly string[];
}

type AuditRuleId = "key" | "leaves" | "signature" | "root" | "since";

export interface AuditRule {
  readonly id: AuditRuleId;
  readonly result: "passed" | "failed" | "unchecked";
  readonly message: string;
}

export interface AuditVerdict {
  readonly verdict: "accepted" | "refused";
  readonly rules: readonly AuditRule[];
  readonly entries: number;
  /** Of the file; present whatever the verdict when the file had one. */
  readonly checkpoint?: { readonly origin: string; readonly size: number; readonly note: string };
  readonly key: string;
}

const headerLine = z.object({ format: z.literal(EXPORT_FORMAT), key: z.string(), size: z.int().nonnegative() });
const checkpointLine = z.strictObject({ checkpoint: z.string().max(AUDIT_LIMITS.noteBytes) });

/**
 * `lines` without their newlines. Throws AUDIT_EXPORT_INVALID when the first line is not that of an export,
 * AUDIT_KEY_INVALID and AUDIT_NOTE_INVALID for what the caller passes; what the log did wrong is a verdict.
 */
export async function verifyExport(
  lines: AsyncIterable<Uint8Array>,
  options: VerifyAuditOptions = {},
): Promise<AuditVerdict> {
  const verifier = new ExportVerifier(options);
  for await (const line of lines) verifier.take(line);
  return verifier.finish();
}

interface Older {
  readonly note: string;
  readonly size: number;
  root: Uint8Array | undefined;
}

class ExportVerifier {
  readonly #trusted: VerifierKey | undefined;
  readonly #older: readonly Older[];
  readonly #frontier = new Frontier();
  #fileKey: string | undefined;
  #announced = 0;
  #note: string | undefined;
  #fault: string | undefined;

  constructor(options: VerifyAuditOptions) {
    this.#trusted = options.key === undefined ? undefined : parseVerifierKey(options.key);
    this.#older = (options.since ?? []).map((note) => {
      const { size } = parseCheckpoint(parseNote(note).text);
      return { note, size, root: size === 0 ? this.#frontier.root() : undefined };
    });
  }

  take(line: Uint8Array): void {
    if (this.#fileKey === undefined) this.#takeHeader(line);
    else if (this.#fault === undefined) this.#takeBody(line);
  }

  #takeBody(line: Uint8Array): void {
    if (this.#note !== undefined) this.#fault = "there are lines after the checkpoint";
    else if (this.#frontier.size === this.#announced) this.#takeCheckpoint(line);
    else this.#takeLeaf(line);
  }

  #takeHeader(line: Uint8Array): void {
    const parsed = headerLine.safeParse(readJson(line));
    if (!parsed.success) throw auditError("AUDIT_EXPORT_INVALID");
    this.#fileKey = parsed.data.key;
    this.#announced = parsed.data.size;
  }

  #takeLeaf(line: Uint8Array): void {
    const index = this.#frontier.size;
    if (parseLeaf(line)?.index !== index) {
      this.#fault = `line ${index + 2} is not entry ${index}`;
      return;
    }
    this.#frontier.push(hashLeaf(line));
    for (const older of this.#older) if (older.size === index + 1) older.root = this.#frontier.root();
  }

  #takeCheckpoint(line: Uint8Array): void {
    const parsed = checkpointLine.safeParse(readJson(line));
    if (parsed.success) this.#note = parsed.data.checkpoint;
    else this.#fault = `line ${this.#announced + 2} is not the checkpoint`;
  }

  finish(): AuditVerdict {
    if (this.#fileKey === undefined) throw auditError("AUDIT_EXPORT_INVALID", { detail: "it is empty" });
    const key = this.#trusted ?? this.#keyOfFile(this.#fileKey);
    const checkpoint = this.#note === undefined || !key ? undefined : checkpointOf(this.#note, key);
    const rules = [
      this.#keyRule(key),
      this.#leavesRule(),
      signatureRule(checkpoint),
      this.#rootRule(checkpoint),
      ...(this.#older.length === 0 ? [unchecked("since", "no older checkpoint was given")] : []),
      ...this.#older.map((older) => this.#sinceRule(older, key)),
    ];
    return {
      verdict: rules.some(({ result }) => result === "failed") ? "refused" : "accepted",
      rules,
      entries: this.#frontier.size,
      ...(checkpoint && this.#note !== undefined
        ? { checkpoint: { origin: checkpoint.origin, size: checkpoint.size, note: this.#note } }
        : {}),
      key: key?.text ?? this.#fileKey,
    };
  }

  #keyOfFile(text: string): VerifierKey | undefined {
    try {
      return parseVerifierKey(text);
    } catch {
      return undefined;
    }
  }

  #keyRule(key: VerifierKey | undefined): AuditRule {
    if (!key) return failed("key", "the file's verifier key is damaged");
    if (!this.#trusted) return unchecked("key", "the key came with the file: name the one you trust with --key");
    return this.#trusted.text === this.#fileKey
      ? passed("key", "the file names the trusted key")
      : failed("key", "the file names another key than the trusted one");
  }

  #leavesRule(): AuditRule {
    const { size } = this.#frontier;
    if (this.#fault !== undefined) return failed("leaves", this.#fault);
    if (size !== this.#announced || this.#note === undefined)
      return failed("leaves", `the file ends after ${size} of ${this.#announced} entries`);
    return passed("leaves", `${size} entries, none missing, changed in form or out of order`);
  }

  #rootRule(checkpoint: VerifiedCheckpoint | undefined): AuditRule {
    if (!checkpoint) return failed("root", "there is no signed checkpoint to compare with");
    const { size } = this.#frontier;
    if (checkpoint.size !== size)
      return failed("root", `the checkpoint signs ${checkpoint.size} entries, there are ${size}`);
    return equalBytes(checkpoint.root, this.#frontier.root())
      ? passed("root", "the entries have the root that was signed")
      : failed("root", "the entries have another root than was signed");
  }

  #sinceRule(older: Older, key: VerifierKey | undefined): AuditRule {
    const signed = key && checkpointOf(older.note, key);
    if (!signed) return failed("since", "the older checkpoint is not signed by this log");
    if (!older.root)
      return failed(
        "since",
        `the log had ${older.size} entries and shows ${this.#frontier.size}: it was cut or rolled back`,
      );
    return equalBytes(older.root, signed.root)
      ? passed("since", `the first ${older.size} entries are those of the older checkpoint`)
      : failed(
          "since",
          `the first ${older.size} entries are not those of the older checkpoint: the log was rewritten or forked`,
        );
  }
}

function signatureRule(checkpoint: VerifiedCheckpoint | undefined): AuditRule {
  return checkpoint
    ? passed("signature", `the checkpoint is signed by ${checkpoint.origin}`)
    : failed("signature", "there is no checkpoint with a valid signature");
}

function checkpointOf(note: string, key: VerifierKey): VerifiedCheckpoint | undefined {
  try {
    return verifyCheckpoint(note, key);
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}

function readJson(line: Uint8Array): unknown {
  try {
    return parseJson(line, { maxBytes: AUDIT_LIMITS.lineBytes, what: "line" });
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}

function passed(id: AuditRuleId, message: string): AuditRule {
  return { id, result: "passed", message };
}

function failed(id: AuditRuleId, message: string): AuditRule {
  return { id, result: "failed", message };
}

function unchecked(id: AuditRuleId, message: string): AuditRule {
  return { id, result: "unchecked", message };
}
