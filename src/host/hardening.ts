/** Closes this process to others of the same user: no tracing, no core file, no inspector by a signal. */
import { url as inspectorUrl } from "node:inspector";
import { requireForeignFunctions } from "./secret-memory.ts";

const PR_GET_DUMPABLE = 3;
const PR_SET_DUMPABLE = 4;
const RLIMIT_CORE = 4;

export interface Hardening {
  /** Other processes of this user can neither trace this one nor read its memory. */
  readonly untraceable: boolean;
  /** A crash writes no core file. */
  readonly noCoreFile: boolean;
  /** Nobody has opened Node's inspector, and SIGUSR1 opens none. */
  readonly noInspector: boolean;
}

/** To be called before the first secret is there. What could not be done is said and is no reason to stop. */
export function hardenProcess(): Hardening {
  process.on("SIGUSR1", ignore);
  const inspector = inspectorUrl() === undefined && process.listenerCount("SIGUSR1") > 0;
  return { ...closeToOthers(), noInspector: inspector };
}

function ignore(): void {}

function closeToOthers(): Omit<Hardening, "noInspector"> {
  if (process.platform !== "linux") return { untraceable: false, noCoreFile: false };
  try {
    const libc = requireForeignFunctions().load(null);
    const prctl = libc.func("int prctl(int option, unsigned long argument)");
    const setrlimit = libc.func("int setrlimit(int resource, void *limit)");
    prctl(PR_SET_DUMPABLE, 0);
    // struct rlimit: soft and hard, 64 bits each.
    const noCoreFile = setrlimit(RLIMIT_CORE, new Uint8Array(16)) === 0;
    return { untraceable: prctl(PR_GET_DUMPABLE, 0) === 0, noCoreFile };
  } catch {
    return { untraceable: false, noCoreFile: false };
  }
}
