/** What a command is: the table that help, completion, the reference and the parser read. */
import type { Clock, Log, Progress, Random } from "../base/index.ts";
import type { ApiClient } from "../contract/index.ts";

export interface CommandOption {
  /** Long name with dashes, for example `--fail-on`. */
  readonly flag: string;
  /** Name of the value in help; without it the option is a switch. */
  readonly value?: string;
  readonly about: string;
  readonly default?: string;
  readonly choices?: readonly string[];
  readonly repeatable?: boolean;
  readonly required?: boolean;
}

export interface CommandArgument {
  readonly name: string;
  readonly about: string;
  readonly optional?: boolean;
  readonly variadic?: boolean;
}

export interface CommandInput {
  readonly args: readonly string[];
  /** The argument at this place, from 0; a usage error when it is not there. */
  arg(index: number): string;
  /** What stands after `--`. */
  readonly rest: readonly string[];
  /** The single value of an option, or its default. */
  text(flag: string): string | undefined;
  /** The value of an option that must be there; a usage error otherwise. */
  need(flag: string): string;
  all(flag: string): readonly string[];
  on(flag: string): boolean;
}

/** What a command may touch: the terminal, the clock, and the server it is logged in to. */
export interface CommandContext {
  readonly json: boolean;
  /** Of this program. */
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** Data, to stdout. */
  out(text: string): void;
  /** Talk, to stderr. */
  talk(text: string): void;
  /** The whole of standard input, at most `maxBytes`. */
  stdin(maxBytes: number): Promise<Uint8Array>;
  /** A client of the server with the stored credentials; fails with NOT_LOGGED_IN and the command to type. */
  client(): Promise<ApiClient>;
}

/**
 * What came out: `data` is printed as one JSON object under --json, `text` otherwise. In a list every item stays one
 * line whatever names it holds: a name with a line break cannot write a line of its own.
 */
export interface CommandResult {
  readonly data: unknown;
  readonly text?: string | readonly string[];
  /** See EXIT; 0 when absent. */
  readonly exit?: number;
}

export interface Command {
  /** The words after `modelkeep`, for example `scan files`. */
  readonly name: string;
  readonly about: string;
  readonly examples: readonly { readonly line: string; readonly about: string }[];
  readonly args?: readonly CommandArgument[];
  readonly options?: readonly CommandOption[];
  /** Set when words after `--` are a program to start. */
  readonly takesProgram?: boolean;
  run(context: CommandContext, input: CommandInput): Promise<CommandResult>;
}
