/** Error codes of the loader. */
import { defineErrors, EXIT } from "../base/index.ts";

export const loaderError = defineErrors("loader", {
  NAMESPACE_UNAVAILABLE: {
    status: 500,
    exit: EXIT.failed,
    title: "This host gives no private mount namespace",
    hint: "run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0); in a container add the capability SYS_ADMIN",
  },
  MEMORY_MOUNT_FAILED: {
    status: 500,
    exit: EXIT.failed,
    title: "No memory file system could be mounted for the model",
    hint: "modelkeep doctor",
  },
  SWAP_IN_USE: {
    status: 500,
    exit: EXIT.failed,
    title: "The weights could be swapped to a disk",
    hint: "swapoff -a, or run as root on Linux 6.4 or newer, or accept it with --insecure-allow-swap",
  },
  TOOL_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "A tool of the operating system is missing",
    hint: "install util-linux (unshare, mount, setpriv, prlimit) and coreutils (env)",
  },
  PROGRAM_NOT_FOUND: {
    status: 400,
    exit: EXIT.usage,
    title: "The program to start was not found or cannot be executed",
    hint: "give the path of the program after --, for example: modelkeep run keeper@1 ... -- /usr/bin/vllm serve {model}",
  },
  MEMORY_TOO_SMALL: {
    status: 500,
    exit: EXIT.failed,
    title: "The model does not fit into memory",
    hint: "free memory, or take a larger machine",
  },
  NO_MOUNT_FOLDER: {
    status: 500,
    exit: EXIT.failed,
    title: "There is no folder of this user over which the model could be mounted",
    hint: "set XDG_DATA_HOME to a folder that only this user can write",
  },
  EVIDENCE_NOT_CHOSEN: {
    status: 400,
    exit: EXIT.usage,
    title: "This host has no evidence that proves anything",
    hint: "only for development, and only where policy allows it: modelkeep run REF --tee insecure-dev ...",
  },
  LOAD_FAILED: { status: 500, exit: EXIT.failed, title: "The model could not be loaded" },
  JOB_INVALID: { status: 400, exit: EXIT.failed, title: "The inner program was started with an unusable job" },
});
