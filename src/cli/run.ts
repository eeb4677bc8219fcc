/** Runs one command line against given streams: what main does, without the process. */
import { type Clock, EXIT, type Log, ModelkeepError, type Random, toModelkeepError, toProblem } from "../base/index.ts";
import type { ApiClient } from "../contract/index.ts";
import type { Command, CommandContext } from "./command.ts";
import { cliError } from "./errors.ts";
import { helpOfAll, helpOfCommand, helpOfGroup } from "./help.ts";
import { ownWords, type Parsed, parseCommandLine } from "./parse.ts";
import { createProgress, printable, printableLine, readStream, type Stream } from "./terminal.ts";

export interface Surroundings {
  readonly commands: readonly Command[];
  readonly version: string;
  readonly stdin: AsyncIterable<Uint8Array | string>;
  readonly stdout: Stream;
  readonly stderr: Stream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly signal: AbortSignal;
  connect(): Promise<ApiClient>;
}

/** Resolves to the exit code; never throws. */
export async function runCommandLine(words: readonly string[], around: Surroundings): Promise<number> {
  let json = ownWords(words).includes("--json");
  let command: Command | undefined;
  try {
    const parsed = parseCommandLine(words, around.commands);
    json = parsed.json;
    if (parsed.kind !== "run") return printHelp(parsed, around);
    command = parsed.command;
    return await runCommand(parsed, around);
  } catch (error) {
    return reportError(error, json, around, command);
  }
}

function printHelp(parsed: Exclude<Parsed, { kind: "run" }>, around: Surroundings): number {
  const { version } = around;
  if (parsed.kind === "version") {
    around.stdout.write(parsed.json ? `${JSON.stringify({ version })}\n` : `${version}\n`);
    return EXIT.done;
  }
  const text = helpText(parsed, around);
  around.stdout.write(parsed.json ? `${JSON.stringify({ help: text })}\n` : text);
  return EXIT.done;
}

function helpText({ command, group }: Extract<Parsed, { kind: "help" }>, { commands, version }: Surroundings): string {
  if (command) return helpOfCommand(command);
  if (group === undefined) return helpOfAll(commands, version);
  return helpOfGroup(
    commands.filter(({ name }) => name.startsWith(`${group} `)),
    group,
  );
}

async function runCommand(parsed: Extract<Parsed, { kind: "run" }>, around: Surroundings): Promise<number> {
  const { progress, done } = createProgress(around.stderr, around.clock);
  const context: CommandContext = {
    json: parsed.json,
    version: around.version,
    env: around.env,
    cwd: around.cwd,
    clock: around.clock,
    random: around.random,
    log: around.log,
    signal: around.signal,
    progress,
    out: (text) => void around.stdout.write(text),
    talk: (text) => {
      done();
      around.stderr.write(`${printable(text)}\n`);
    },
    stdin: (maxBytes) => readStream(around.stdin, maxBytes),
    client: () => around.connect(),
  };
  try {
    const result = await parsed.command.run(context, parsed.input);
    done();
    if (parsed.json && result.data !== undefined) around.stdout.write(`${JSON.stringify(result.data)}\n`);
    else if (!parsed.json && result.text !== undefined) around.stdout.write(withNewline(shown(result.text)));
    return result.exit ?? EXIT.done;
  } finally {
    done();
  }
}

function shown(text: string | readonly string[]): string {
  return typeof text === "string" ? printable(text) : text.map(printableLine).join("\n");
}

function withNewline(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}

function reportError(error: unknown, json: boolean, around: Surroundings, command: Command | undefined): number {
  const known = around.signal.aborted && isByInterrupt(error) ? cliError("INTERRUPTED") : toModelkeepError(error);
  const hint = hintFor(known, command);
  if (json) around.stdout.write(`${JSON.stringify({ ...toProblem(known), hint })}\n`);
  around.stderr.write(`error: ${printableLine(known.message)}\n`);
  around.stderr.write(`hint: ${printableLine(hint)}\n`);
  if (known.code === "INTERNAL") around.log.debug("internal error", { error: known.cause });
  return around.signal.aborted ? EXIT.interrupted : known.exit;
}

/** The error's own, or the next thing to type where the error knows none. */
function hintFor({ code, exit, hint }: ModelkeepError, command: Command | undefined): string {
  const help = command === undefined ? "modelkeep help" : `modelkeep ${command.name} --help`;
  if (hint !== undefined && !(code === "USAGE" && hint === "modelkeep help")) return hint;
  if (code === "INTERNAL") return "type it again with MODELKEEP_DEBUG=1 before it, and look at the server's log";
  if (exit === EXIT.verificationFailed)
    return "do not use it; get it again from where it was published: modelkeep pull";
  if (exit === EXIT.unreachable) return "modelkeep doctor";
  return exit === EXIT.denied ? "modelkeep whoami" : help;
}

/** What was under way when the interrupt came ends as anything, or as a server that does not answer. */
function isByInterrupt(error: unknown): boolean {
  return !(error instanceof ModelkeepError) || error.exit === EXIT.unreachable;
}
