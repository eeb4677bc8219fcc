/** The chain of words that is started: limits, namespace, a shell that runs the inner half and then the program. */
import { fileURLToPath } from "node:url";
import { processInfo } from "../host/index.ts";
import { CORE_LIMIT_BYTES } from "./limits.ts";
import type { Namespace } from "./namespace.ts";
import { findTool } from "./tools.ts";

/**
 * The shell is the first process of the namespace: it collects orphans and passes the exit code on. It holds no secret;
 * the inner half had the key and has ended when the program starts. The traps keep it alive when a signal comes to
 * the whole group. Words: env, node, inner half, then the program.
 */
const SCRIPT = `
trap : INT TERM HUP QUIT
"$1" -i PATH=/usr/bin:/bin LC_ALL=C "$2" --disable-warning=ExperimentalWarning "$3" </dev/null >/dev/null || exit 70
exec 3<&- 4>&-
shift 3
"$@"
exit $?
`;

const DROP_CAPABILITIES = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];

/** Whoever ends first takes the rest with it: each link is killed when its parent dies. */
export async function launchWords(namespace: Namespace, program: readonly string[]): Promise<string[]> {
  const [prlimit, setpriv, shell, env] = await Promise.all(["prlimit", "setpriv", "sh", "env"].map(findTool));
  const tools = { prlimit: prlimit ?? "", setpriv: setpriv ?? "", shell: shell ?? "", env: env ?? "" };
  const dieWithParent = [tools.setpriv, "--pdeathsig", "KILL"];
  return [
    tools.prlimit,
    `--core=${CORE_LIMIT_BYTES}:${CORE_LIMIT_BYTES}`,
    ...dieWithParent,
    "--",
    ...namespace.prefix,
    tools.shell,
    "-c",
    SCRIPT,
    "modelkeep-loader",
    tools.env,
    processInfo().execPath,
    innerHalf(),
    ...dieWithParent,
    ...(namespace.kind === "user" ? DROP_CAPABILITIES : []),
    "--",
    ...program,
  ];
}

function innerHalf(): string {
  const name = import.meta.url.endsWith(".ts") ? "./inside.ts" : "./inside.js";
  return fileURLToPath(new URL(name, import.meta.url));
}
