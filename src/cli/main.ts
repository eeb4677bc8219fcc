/** Starts one command line on the real process: streams, signals, exit code. */
import { readFileSync } from "node:fs";
import { systemClock, systemRandom } from "../host/index.ts";
import { createLog } from "../server/index.ts";
import { commandsFor } from "./commands/on-demand.ts";
import { runCommandLine } from "./run.ts";

const EXIT_BY_SECOND_SIGNAL = 130;

export async function main(words: readonly string[]): Promise<void> {
  process.on("SIGUSR1", () => {});
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (abort.signal.aborted) process.exit(EXIT_BY_SECOND_SIGNAL);
      abort.abort(signal);
    });
  }
  const log = createLog({
    level: process.env.MODELKEEP_DEBUG ? "debug" : "warn",
    write: (line) => void process.stderr.write(line),
  });
  const code = await runCommandLine(words, {
    commands: await commandsFor(words),
    version: packageVersion(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    clock: systemClock,
    random: systemRandom,
    log,
    signal: abort.signal,
    connect: async () => (await import("./connect.ts")).connectWithCredentials(process.env, abort.signal),
  });
  process.exitCode = code;
  await drain();
  process.exit(code);
}

/** What was written must have left before the process ends. */
async function drain(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise((resolve) => stream.write("", resolve));
  }
}

export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return manifest.version;
}
