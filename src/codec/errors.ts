/** Errors of the codecs. */
import { defineErrors, EXIT } from "../base/index.ts";

export const codecError = defineErrors("codec", {
  PEM_INVALID: { status: 400, exit: EXIT.failed, title: "The text is not PEM" },
  DSSE_INVALID: { status: 400, exit: EXIT.failed, title: "The document is not a DSSE envelope" },
  JCS_INVALID: { status: 400, exit: EXIT.failed, title: "The value has no canonical JSON" },
});
