/** Starts one command line on the real process: streams, signals, exit code. */
import { readFileSync } from "node:fs";
import { EXIT } from "../base/index.ts";
import { systemClock, systemRandom, threadsHaveLoaded } from "../host/index.ts";
import { createLog } from "../server/index.ts";
import { commandsFor } from "./commands/on-demand.ts";
import { runCommandLine } from "./run.ts";

/** How long the end waits for threads that are in the middle of their start, in milliseconds. */
const THREADS_WAIT_MS = 5_000;

export async function main(words: readonly string[]): Promise<void> {
  process.on("SIGUSR1", () => {});
  const abort = new AbortController();
  const output = watchOutput(abort);
  obeySignals(abort);
  const log = createLog({
    level: process.env.MODELKEEP_DEBUG ? "debug" : "warn",
    write: (line) => void process.stderr.write(line),
  });
  process.on("uncaughtException", (error) => {
    process.stderr.write("error: Internal error\nhint: type it again with MODELKEEP_DEBUG=1 before it\n");
    log.debug("uncaught", { error });
    void leave(EXIT.failed);
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
  await leave(output.isLost && code === EXIT.done ? EXIT.failed : code);
}

/**
 * A reader that went away needs no more of the output: the command ends early, and says by its code what it said
 * without a reader. Output that could not be written is a failure, whatever the command did.
 */
function watchOutput(abort: AbortController): { readonly isLost: boolean } {
  const output = { isLost: false };
  process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
    abort.abort(code);
    if (code === "EPIPE" || output.isLost) return;
    output.isLost = true;
    process.stderr.write(`error: The output cannot be written (${code ?? "unknown"})\nhint: df -h\n`);
  });
  process.stderr.on("error", () => {});
  return output;
}

/** The first signal asks the command to end, the second does not ask. */
function obeySignals(abort: AbortController): void {
  let signals = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1) void leave(EXIT.interrupted);
      else abort.abort(signal);
    });
  }
}

/** Threads end with the process, and those that are loading native code then would end it by SIGABRT. */
async function leave(code: number): Promise<void> {
  const loaded = threadsHaveLoaded();
  await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, THREADS_WAIT_MS))]);
  process.exit(code);
}

/** What was written must have left before the process ends. */
async function drain(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise((resolve) => stream.write("", resolve));
  }
  // Streams tell of their errors in a later turn.
  await new Promise((resolve) => setImmediate(resolve));
}

export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return manifest.version;
}
