/** Runs a program in the place of a command: its streams are the terminal's, its end is the command's. */
import { EXIT } from "../base/index.ts";
import { os, spawnProcess, ttyStreams } from "../host/index.ts";
import type { CommandContext } from "./command.ts";
import { cliError } from "./errors.ts";

export interface ProgramOptions {
  readonly context: CommandContext;
  /** The program and its arguments. */
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Descriptors that it gets as 3 and up. */
  readonly descriptors?: readonly number[];
  /** What to type, when it cannot be started. */
  readonly hint: string;
}

/** Its exit code, as shells tell it; interrupts are passed on. */
export function runProgram({ context, words, env, descriptors = [], hint }: ProgramOptions): Promise<number> {
  const [program = "", ...args] = words;
  const stdio: ("inherit" | number)[] = ["inherit", "inherit", "inherit", ...descriptors];
  const child = spawnProcess(program, args, { stdio, cwd: context.cwd, env });
  const stop = (): void => {
    const signal = context.signal.reason === "SIGINT" ? "SIGINT" : "SIGTERM";
    // A terminal has sent its interrupt to the whole foreground group: the program has it already.
    if (signal === "SIGTERM" || !ttyStreams()) child.kill(signal);
  };
  if (context.signal.aborted) stop();
  context.signal.addEventListener("abort", stop, { once: true });
  return new Promise<number>((resolve, reject) => {
    child.on("error", () => reject(cliError("USAGE", { detail: `${program} cannot be started`, hint })));
    child.on("exit", (code, signal) => resolve(code ?? exitOfSignal(signal)));
  }).finally(() => context.signal.removeEventListener("abort", stop));
}

function exitOfSignal(signal: NodeJS.Signals | null): number {
  const number = signal === null ? undefined : os.constants.signals[signal];
  return number === undefined ? EXIT.failed : 128 + number;
}
