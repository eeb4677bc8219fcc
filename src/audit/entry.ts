/** One entry of the log: what its leaf is made of, and back. */
import { z } from "zod";
import { type AuditEvent, equalBytes, fromUtf8, ModelkeepError, parseJson, utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import { auditError } from "./errors.ts";
import { AUDIT_LIMITS } from "./limits.ts";

export interface AuditEntry {
  readonly index: number;
  /** RFC 3339 in UTC with milliseconds: when the server was told. */
  readonly at: string;
  readonly event: AuditEvent;
}

const event = z.strictObject({
  action: z.string().min(1),
  outcome: z.enum(["allowed", "refused", "failed"]),
  principal: z.string(),
  resource: z.string(),
  model_root: z.string().optional(),
  reason: z.array(z.string()).optional(),
  data: z.record(z.string(), z.unknown()).optional(),
});

/** Unknown members are kept out of what is shown, not out of what is hashed: a later version may write more. */
const entry = z.object({
  index: z.int().nonnegative(),
  at: z.iso.datetime({ precision: 3 }),
  event: z.looseObject(event.shape),
});

/** An event and its time as they stand in the leaf; only the index is missing. */
export type PreparedEvent = string & { readonly prepared: unique symbol };

/** Throws AUDIT_EVENT_INVALID or AUDIT_EVENT_TOO_LARGE: before the event waits, so that it cannot harm others. */
export function prepareEvent(recorded: AuditEvent, atMs: number): PreparedEvent {
  const { modelRoot, ...rest } = recorded;
  const wire = withoutUndefined({ ...rest, model_root: modelRoot });
  const parsed = event.safeParse(wire);
  if (!parsed.success)
    throw auditError("AUDIT_EVENT_INVALID", { detail: parsed.error.issues[0]?.path.join(".") ?? "" });
  const bytes = canonical(wire, recorded.action);
  if (bytes.length > AUDIT_LIMITS.eventBytes) {
    throw auditError("AUDIT_EVENT_TOO_LARGE", {
      detail: `${String(recorded.action).slice(0, 80)} has ${bytes.length} bytes, the limit is ${AUDIT_LIMITS.eventBytes}`,
    });
  }
  const prepared = `{"at":"${new Date(atMs).toISOString()}","event":${fromUtf8(bytes)}` as PreparedEvent;
  // What this log could not read back would end every later verification.
  if (!parseLeaf(leafOf(prepared, 0)))
    throw auditError("AUDIT_EVENT_INVALID", { detail: recorded.action.slice(0, 80) });
  return prepared;
}

function canonical(value: unknown, action: string): Uint8Array {
  try {
    return jcs(value);
  } catch (error) {
    const detail = `${action.slice(0, 80)}${error instanceof ModelkeepError && error.detail ? `: ${error.detail}` : ""}`;
    throw auditError("AUDIT_EVENT_INVALID", { detail, cause: error });
  }
}

/** Callers write `x: undefined` for what is not there; JSON has no such value. */
function withoutUndefined(value: unknown, level = 0): unknown {
  if (level > AUDIT_LIMITS.eventLevels) throw auditError("AUDIT_EVENT_INVALID", { detail: "it is nested too deep" });
  if (Array.isArray(value)) return value.map((item) => withoutUndefined(item, level + 1));
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  const kept = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(kept.map(([name, member]) => [name, withoutUndefined(member, level + 1)]));
}

/** The leaf: canonical JSON of `at`, `event`, `index`. */
export function leafOf(prepared: PreparedEvent, index: number): Uint8Array {
  return utf8(`${prepared},"index":${index}}`);
}

/** Undefined when the bytes are not the canonical form of an entry. */
export function parseLeaf(leaf: Uint8Array): AuditEntry | undefined {
  try {
    const value = parseJson(leaf, { maxBytes: AUDIT_LIMITS.lineBytes, what: "leaf" });
    const parsed = entry.safeParse(value);
    return parsed.success && equalBytes(jcs(value), leaf) ? toEntry(parsed.data) : undefined;
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}

function toEntry({ index, at, event: wire }: z.output<typeof entry>): AuditEntry {
  const { action, outcome, principal, resource, model_root: modelRoot, reason, data } = wire;
  return {
    index,
    at,
    event: {
      action,
      outcome,
      principal,
      resource,
      ...(modelRoot === undefined ? {} : { modelRoot }),
      ...(reason === undefined ? {} : { reason }),
      ...(data === undefined ? {} : { data }),
    },
  };
}
