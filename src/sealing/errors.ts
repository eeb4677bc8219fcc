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
  RECIPIENTS_INVALID: {
    status: 409,
    exit: EXIT.failed,
    title: "These recipients are not possible",
    hint: "modelkeep recipients list SEALED",
  },
  RECIPIENT_UNKNOWN: {
    status: 404,
    exit: EXIT.failed,
    title: "The sealed model has no such recipient",
    hint: "modelkeep recipients list SEALED",
  },
  SEALER_NOT_SIGNER: {
    status: 409,
    exit: EXIT.failed,
    title: "The model was signed with another key than the one that seals it",
    hint: "seal with the key that signed the model, or sign it anew: modelkeep sign MODEL --key KEY",
  },
  SEAL_UNSUPPORTED: {
    status: 400,
    exit: EXIT.failed,
    title: "The model cannot be sealed as it is signed",
    hint: "modelkeep sign MODEL --key KEY",
  },
  OUTPUT_EXISTS: { status: 409, exit: EXIT.failed, title: "The output is there already", hint: "name a new folder" },
  OUTPUT_UNWRITABLE: { status: 500, exit: EXIT.failed, title: "The output cannot be written" },
  PARTS_MISSING: {
    status: 409,
    exit: EXIT.failed,
    title: "Parts of the model are not sealed yet",
    hint: "modelkeep seal MODEL --part I/N for each of them, then --join again",
  },
  PART_NOT_OURS: {
    status: 422,
    exit: EXIT.verificationFailed,
    title: "What a part left was changed or is of another plan",
    hint: "modelkeep seal MODEL --part I/N again for that part, then --join",
  },
  PARTS_DIFFER: {
    status: 409,
    exit: EXIT.failed,
    title: "The parts that are there were planned otherwise",
    hint: "repeat what the first part was given; without --part, modelkeep seal finishes the place alone",
  },
  PARTS_STORE_UNFIT: {
    status: 400,
    exit: EXIT.usage,
    title: "Parts cannot be sealed into a registry, where two writers would undo each other's names",
    hint: "seal them into a bucket or a folder, then: modelkeep push SEALED oci://HOST/REPOSITORY:TAG",
  },
  NOT_SEALED: {
    status: 404,
    exit: EXIT.failed,
    title: "There is no sealed model",
    hint: "modelkeep seal MODEL --key KEY --kms URI --output DIR; only what is sealed is copied",
  },
  SEALED_EXISTS: {
    status: 409,
    exit: EXIT.failed,
    title: "A sealed model is already there",
    hint: "choose another place, or shred the old one",
  },
});
