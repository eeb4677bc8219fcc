/** Error codes of the key release. */
import { defineErrors, EXIT, type ModelkeepError } from "../base/index.ts";

export const releaseError = defineErrors("release", {
  KEY_NOT_GRANTED: {
    status: 403,
    exit: EXIT.notGranted,
    title: "The key was not granted",
    hint: "the server's audit log says why: modelkeep audit list",
  },
  CHALLENGE_LIMIT: {
    status: 429,
    exit: EXIT.unreachable,
    title: "Too many challenges are open",
    hint: "wait a minute",
  },
  KEY_UNAVAILABLE: { status: 503, exit: EXIT.unreachable, title: "The key cannot be had from the KMS" },
  KEY_NOT_OPENED: {
    status: 502,
    exit: EXIT.verificationFailed,
    title: "The released key cannot be opened: it was not sealed for this request",
  },
});

/** Names the rule that refused, never what would have been accepted. */
export function keyNotGranted(rule: string, cause?: unknown): ModelkeepError {
  return releaseError("KEY_NOT_GRANTED", { detail: rule, extra: { rule }, ...(cause ? { cause } : {}) });
}
