/** Runs one command line in this process, as main would, with its output caught. */

import { silentLog } from "../../../src/base/index.ts";
import { commands } from "../../../src/cli/commands/index.ts";
import { runCommandLine } from "../../../src/cli/run.ts";
import { systemClock, systemRandom } from "../../../src/host/index.ts";

export interface Ran {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Around {
  readonly cwd: string;
  readonly stdin?: Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
}

export async function runCli(words: readonly string[], { cwd, stdin, env = {} }: Around): Promise<Ran> {
  const out = { stdout: "", stderr: "" };
  const stream = (name: "stdout" | "stderr") => ({
    isTTY: false,
    write: (text: string) => {
      out[name] += text;
      return true;
    },
  });
  const exit = await runCommandLine(words, {
    commands,
    version: "0.0.0",
    stdin: (async function* () {
      if (stdin) yield stdin;
    })(),
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    env,
    cwd,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    signal: new AbortController().signal,
    connect: () => Promise.reject(new Error("no server")),
  });
  return { exit, ...out };
}
