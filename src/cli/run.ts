/** Runs one command line against given streams: what main does, without the process. */
import {
  baseError,
  type Clock,
  EXIT,
  type Log,
  type ModelkeepError,
  type Random,
  toModelkeepError,
  toProblem,
} from "../base/index.ts";
import type { ApiClient } from "../contract/index.ts";
import type { Command, CommandContext } from "./command.ts";
import { helpOfAll, helpOfCommand, helpOfGroup } from "./help.ts";
import { type Parsed, parseCommandLine } from "./parse.ts";
import { createProgress, printable, readStream, type Stream } from "./terminal.ts";

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
  let json = words.includes("--json");
  try {
    const parsed = parseCommandLine(words, around.commands);
    json = parsed.json;
    return parsed.kind === "run" ? await runCommand(parsed, around) : printHelp(parsed, around);
  } catch (error) {
    return reportError(error, json, around);
  }
}

function printHelp(parsed: Exclude<Parsed, { kind: "run" }>, around: Surroundings): number {
  const { commands, version } = around;
  if (parsed.kind === "version") {
    around.stdout.write(parsed.json ? `${JSON.stringify({ version })}\n` : `${version}\n`);
    return EXIT.done;
  }
  const inGroup = commands.filter(
    (command) => parsed.group !== undefined && command.name.startsWith(`${parsed.group} `),
  );
  if (parsed.command) around.stdout.write(helpOfCommand(parsed.command));
  else if (parsed.group) around.stdout.write(helpOfGroup(inGroup, parsed.group));
  else around.stdout.write(helpOfAll(commands, version));
  return EXIT.done;
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
    else if (!parsed.json && result.text !== undefined) around.stdout.write(withNewline(printable(result.text)));
    return result.exit ?? EXIT.done;
  } finally {
    done();
  }
}

function withNewline(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}

function reportError(error: unknown, json: boolean, around: Surroundings): number {
  const known = around.signal.aborted && !isModelkeepError(error) ? interrupted() : toModelkeepError(error);
  if (json) around.stdout.write(`${JSON.stringify(toProblem(known))}\n`);
  around.stderr.write(`error: ${printable(known.message)}\n`);
  if (known.hint) around.stderr.write(`hint: ${printable(known.hint)}\n`);
  if (known.code === "INTERNAL") around.log.debug("internal error", { error: known.cause });
  return around.signal.aborted ? EXIT.interrupted : known.exit;
}

function isModelkeepError(error: unknown): error is ModelkeepError {
  return error instanceof Error && error.name === "ModelkeepError";
}

function interrupted(): ModelkeepError {
  return baseError("INTERNAL", { detail: "interrupted" });
}
