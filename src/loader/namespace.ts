/** Chooses how this host gives a private mount namespace: as root, or inside a user namespace of its own. */
import { loaderError } from "./errors.ts";
import { findTool, runTool } from "./tools.ts";

export interface Namespace {
  readonly kind: "root" | "user";
  /** The words that start a program in it. */
  readonly prefix: readonly string[];
}

const FLAGS = {
  root: ["--mount", "--propagation", "private"],
  user: ["--user", "--map-current-user", "--keep-caps", "--mount", "--propagation", "private"],
} as const;

/** Fails with NAMESPACE_UNAVAILABLE and what the system said. */
export async function findNamespace(): Promise<Namespace> {
  const unshare = await findTool("unshare");
  const said: string[] = [];
  for (const kind of ["root", "user"] as const) {
    const { code, stderr } = await runTool(unshare, [...FLAGS[kind], "--", "/bin/true"]);
    if (code === 0) return { kind, prefix: [unshare, ...FLAGS[kind], "--"] };
    said.push(stderr);
  }
  throw loaderError("NAMESPACE_UNAVAILABLE", { detail: [...new Set(said)].join("; ") });
}
