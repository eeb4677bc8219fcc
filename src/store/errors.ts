/** Errors of the store. */
import { defineErrors, EXIT } from "../base/index.ts";

export const storeError = defineErrors("store", {
  STORE_URL_INVALID: {
    status: 500,
    exit: EXIT.usage,
    title: "The store's URL is not understood",
    hint: "use sqlite:PATH or postgres://USER@HOST/DATABASE",
  },
  STORE_UNREACHABLE: { status: 503, exit: EXIT.unreachable, title: "The database does not answer" },
  STORE_TAMPERED: {
    status: 500,
    exit: EXIT.verificationFailed,
    title: "A stored record is not what was written",
    hint: "restore the database from a backup; the audit log tells since when",
  },
  STORE_TOO_NEW: {
    status: 500,
    exit: EXIT.failed,
    title: "The database was written by a newer version",
    hint: "install the newer modelkeep",
  },
  STORE_FULL: {
    status: 507,
    exit: EXIT.failed,
    title: "The database has no room",
    hint: "free disk space; nothing that was acknowledged is lost",
  },
  VERSION_CONFLICT: {
    status: 409,
    exit: EXIT.failed,
    title: "The record was changed in between",
    hint: "read it again and repeat the change",
  },
  ROOT_KEY_INVALID: { status: 500, exit: EXIT.failed, title: "The root key cannot be used" },
});
