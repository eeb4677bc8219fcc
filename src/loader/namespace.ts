/** Chooses how this host gives a private mount namespace: as root, or inside a user namespace of its own. */
import { loaderError } from "./errors.ts";
import { findTool, runTool } from "./tools.ts";

export interface Namespace {
  readonly kind: "root" | "user";
  /** With a process namespace of its own: when its first process ends, the kernel ends all others. */
  readonly contained: boolean;
  /** The words that start a program in it; the program's parent stays outside and ends it when it ends itself. */
  readonly prefix: readonly string[];
}

const MOUNT = ["--mount", "--propagation", "private", "--fork", "--kill-child"];
const USER = ["--user", "--map-current-user", "--keep-caps"];
const PROCESSES = ["--pid", "--mount-proc"];

/** The best first. Where /proc is masked, as in most containers, no process namespace is possible. */
const CANDIDATES = [
  { kind: "root", contained: true, flags: [...MOUNT, ...PROCESSES] },
  { kind: "user", contained: true, flags: [...USER, ...MOUNT, ...PROCESSES] },
  { kind: "root", contained: false, flags: MOUNT },
  { kind: "user", contained: false, flags: [...USER, ...MOUNT] },
] as const;

/** Fails with NAMESPACE_UNAVAILABLE and what the system said. */
export async function findNamespace(): Promise<Namespace> {
  const unshare = await findTool("unshare");
  const said: string[] = [];
  for (const { kind, contained, flags } of CANDIDATES) {
    const { code, stderr } = await runTool(unshare, [...flags, "--", "/bin/true"]);
    if (code === 0) return { kind, contained, prefix: [unshare, ...flags, "--"] };
    said.push(stderr);
  }
  throw loaderError("NAMESPACE_UNAVAILABLE", { detail: [...new Set(said)].join("; ") });
}
