/** Errors of the command line. */
import { defineErrors, EXIT } from "../base/index.ts";

export const cliError = defineErrors("cli", {
  USAGE: { status: 400, exit: EXIT.usage, title: "The command was not understood", hint: "modelkeep help" },
  NOT_CONFIRMED: { status: 400, exit: EXIT.usage, title: "Nothing was done without --yes" },
  NOT_LOGGED_IN: { status: 401, exit: EXIT.denied, title: "Not logged in", hint: "modelkeep login --server URL" },
  CODE_INVALID: {
    status: 400,
    exit: EXIT.usage,
    title: "That is no one-time code",
    hint: "give it on stdin, at the prompt or in a file, alone on one line",
  },
  LEAK_TEST_FAILED: {
    status: 500,
    exit: EXIT.failed,
    title: "The leak test could not be made, so it says nothing",
    hint: "modelkeep doctor",
  },
  PRINCIPAL_MISMATCH: { status: 403, exit: EXIT.denied, title: "The one-time code is for somebody else" },
  CREDENTIALS_UNSAFE: { status: 500, exit: EXIT.failed, title: "Others may read or change the credentials" },
  CREDENTIALS_DAMAGED: {
    status: 500,
    exit: EXIT.failed,
    title: "The credentials cannot be read",
    hint: "modelkeep login",
  },
  PASSPHRASES_DIFFER: { status: 400, exit: EXIT.usage, title: "The two passphrases are not the same" },
  INTERRUPTED: {
    status: 499,
    exit: EXIT.interrupted,
    title: "Interrupted",
    hint: "type the command again: what can go on does, what cannot was removed",
  },
});
