/** Errors of outside key services. */
import { defineErrors, EXIT } from "../base/index.ts";

export const backendError = defineErrors("backends", {
  KMS_URI_UNKNOWN: {
    status: 400,
    exit: EXIT.usage,
    title: "That KMS is not known",
    hint: "this version knows key files: file:///PATH",
  },
  KMS_KEY_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "The key file does not exist",
    hint: "modelkeep kms init file:///PATH",
  },
  KMS_KEY_INVALID: { status: 500, exit: EXIT.failed, title: "The key file cannot be used" },
  KMS_KEY_UNWRITABLE: { status: 500, exit: EXIT.failed, title: "The key file cannot be written" },
  UNWRAP_FAILED: {
    status: 422,
    exit: EXIT.verificationFailed,
    title: "The wrapped key does not open",
    hint: "is it the key, the package and the model it was wrapped for?",
  },
});
