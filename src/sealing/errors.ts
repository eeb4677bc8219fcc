/** Errors of sealed models. */
import { defineErrors, EXIT } from "../base/index.ts";

export const sealingError = defineErrors("sealing", {
  SEALED_TAMPERED: { status: 422, exit: EXIT.verificationFailed, title: "The sealed model is not what was signed" },
  SEALED_INVALID: { status: 422, exit: EXIT.failed, title: "The sealed model cannot be read" },
  ENVELOPE_INVALID: { status: 422, exit: EXIT.verificationFailed, title: "The key envelope is not valid" },
  NO_KEY_SERVICE: {
    status: 422,
    exit: EXIT.notGranted,
    title: "None of the envelope's key services is one of ours",
    hint: "modelkeep rewrap SEALED --kms URI",
  },
  SEALED_EXISTS: {
    status: 409,
    exit: EXIT.failed,
    title: "A sealed model is already there",
    hint: "choose another place, or shred the old one",
  },
});
