/** Errors of the audit log. */
import { defineErrors, EXIT } from "../base/index.ts";

export const auditError = defineErrors("audit", {
  AUDIT_EVENT_INVALID: { status: 400, exit: EXIT.failed, title: "The event cannot be recorded" },
  AUDIT_EVENT_TOO_LARGE: { status: 413, exit: EXIT.failed, title: "The event is too large to be recorded" },
  AUDIT_BUSY: { status: 503, exit: EXIT.unreachable, title: "Too many events wait for the audit log" },
  AUDIT_CLOSED: { status: 503, exit: EXIT.unreachable, title: "The audit log is closed" },
  AUDIT_TAMPERED: {
    status: 500,
    exit: EXIT.verificationFailed,
    title: "The stored audit log is not what was written",
    hint: "keep a copy of the database; modelkeep audit verify EXPORT --since CHECKPOINT tells what an older export holds",
  },
  AUDIT_ORIGIN_INVALID: { status: 500, exit: EXIT.usage, title: "The name of the audit log is not valid" },
  AUDIT_RANGE_INVALID: { status: 400, exit: EXIT.usage, title: "The log has no such entries" },
  AUDIT_NOTE_INVALID: { status: 400, exit: EXIT.failed, title: "The text is not a signed checkpoint" },
  AUDIT_KEY_INVALID: {
    status: 400,
    exit: EXIT.usage,
    title: "The verifier key is not valid",
    hint: "a key looks like NAME+HASH+BASE64; `modelkeep audit checkpoint` prints it",
  },
  AUDIT_EXPORT_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The file is not an export of an audit log",
    hint: "modelkeep audit export --output FILE",
  },
});
