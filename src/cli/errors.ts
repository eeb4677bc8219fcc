/** Errors of the command line. */
import { defineErrors, EXIT } from "../base/index.ts";

export const cliError = defineErrors("cli", {
  USAGE: { status: 400, exit: EXIT.usage, title: "The command was not understood", hint: "modelkeep help" },
  NOT_LOGGED_IN: { status: 401, exit: EXIT.denied, title: "Not logged in", hint: "modelkeep login --server URL" },
  INTERRUPTED: { status: 499, exit: EXIT.interrupted, title: "Interrupted" },
  DOCTOR_FOUND_PROBLEMS: { status: 500, exit: EXIT.failed, title: "Some checks failed" },
});
