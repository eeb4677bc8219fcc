/** Errors of the door to the machine. */
import { defineErrors, EXIT } from "../base/index.ts";

export const hostError = defineErrors("host", {
  FILE_NOT_FOUND: { status: 500, exit: EXIT.failed, title: "The file does not exist" },
  FILE_UNREADABLE: { status: 500, exit: EXIT.failed, title: "The file cannot be read" },
  FILE_UNWRITABLE: { status: 500, exit: EXIT.failed, title: "The file cannot be written" },
  BLAKE3_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "BLAKE3 is hashed by the package @napi-rs/blake-hash, which is not there",
    hint: "npm install @napi-rs/blake-hash",
  },
  FOREIGN_FUNCTIONS_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "The package koffi, by which shared libraries are called, is not there",
    hint: "npm install koffi",
  },
  ENGINE_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "The engine that MODELKEEP_ENGINE names cannot be used",
    hint: "unset MODELKEEP_ENGINE, or npm install koffi",
  },
  ENGINE_FAILED: {
    status: 500,
    exit: EXIT.failed,
    title: "The engine that encrypts gave up",
    hint: "MODELKEEP_ENGINE=crypto takes the one that is everywhere",
  },
  THREAD_LOST: {
    status: 500,
    exit: EXIT.failed,
    title: "A thread of this program ended in the middle of its work",
    hint: "start again: what was finished is kept",
  },
  THREAD_OVER_MEMORY: {
    status: 500,
    exit: EXIT.failed,
    title: "A thread of this program needed more memory than it may have",
    hint: "give it less at once",
  },
  MEMORY_LEVEL_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "This machine has no memory of the kind that MODELKEEP_MEMORY asks for: secret, locked or plain",
    hint: "modelkeep doctor",
  },
  MEMORY_WIPED: { status: 500, exit: EXIT.failed, title: "A secret was used after it had been wiped" },
});
