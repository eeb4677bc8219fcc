/** Errors of timestamps on signatures by key and by certificate. */
import { defineErrors, EXIT } from "../../base/index.ts";

export const timestampError = defineErrors("timestamp", {
  TIMESTAMP_UNREACHABLE: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The timestamp authority cannot be reached, so that no signature was made",
    hint: "try again, or name another authority with --timestamp",
  },
  TIMESTAMP_REFUSED: {
    status: 502,
    exit: EXIT.failed,
    title: "The timestamp authority gave no timestamp, so that no signature was made",
    hint: "name another authority with --timestamp, or another policy with --timestamp-policy",
  },
  TIMESTAMP_WRONG: {
    status: 502,
    exit: EXIT.failed,
    title: "The timestamp is not one that a verifier would accept, so that no signature was made",
    hint: "with --tsa: is it the certificate of this authority?",
  },
});
