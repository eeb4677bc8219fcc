/** Turns words into a command and its input. */
import { parseArgs } from "node:util";
import type { Command, CommandInput, CommandOption } from "./command.ts";
import { cliError } from "./errors.ts";

/** Words of one command line, and characters of one word. */
const MAX_WORDS = 10_000;
const MAX_WORD_CHARACTERS = 128 * 1024;

export type Parsed =
  | { readonly kind: "run"; readonly command: Command; readonly input: CommandInput; readonly json: boolean }
  | { readonly kind: "help"; readonly command?: Command; readonly group?: string; readonly json: boolean }
  | { readonly kind: "version"; readonly json: boolean };

export function parseCommandLine(words: readonly string[], commands: readonly Command[]): Parsed {
  if (words.length > MAX_WORDS || words.some((word) => word.length > MAX_WORD_CHARACTERS)) {
    throw cliError("USAGE", { detail: "the command line is too long" });
  }
  const own = ownWords(words);
  const rest = words.slice(own.length + 1);
  const json = own.includes("--json");
  const bare = own.filter((word) => word !== "--json");
  if (bare.length === 0 || bare[0] === "--help" || bare[0] === "-h") return { kind: "help", json };
  if (bare[0] === "--version" || bare[0] === "-V" || bare[0] === "version") return { kind: "version", json };
  if (bare[0] === "help") return parseHelp(bare.slice(1), commands, json);
  const command = findCommand(bare, commands);
  if (!command) return groupOrFail(bare, commands, json);
  const after = bare.slice(command.name.split(" ").length);
  if (after.includes("--help") || after.includes("-h")) return { kind: "help", command, json };
  return { kind: "run", command, input: readInput(command, after, rest), json };
}

/** Those before `--`: what comes behind belongs to the program that is started. */
export function ownWords(words: readonly string[]): readonly string[] {
  const dashes = words.indexOf("--");
  return dashes === -1 ? words : words.slice(0, dashes);
}

function parseHelp(words: readonly string[], commands: readonly Command[], json: boolean): Parsed {
  const command = findCommand(words, commands);
  if (command) return { kind: "help", command, json };
  return words.length === 0 ? { kind: "help", json } : groupOrFail(words, commands, json);
}

function findCommand(words: readonly string[], commands: readonly Command[]): Command | undefined {
  const matches = commands.filter((command) => command.name.split(" ").every((part, index) => words[index] === part));
  return matches.sort((a, b) => b.name.length - a.name.length)[0];
}

function groupOrFail(words: readonly string[], commands: readonly Command[], json: boolean): Parsed {
  const first = words[0] ?? "";
  const inGroup = commands.some((command) => command.name.startsWith(`${first} `));
  const second = words[1];
  if (inGroup && (second === undefined || second.startsWith("-"))) return { kind: "help", group: first, json };
  const typed = inGroup ? `${first} ${second}` : first;
  const near = nearest(
    typed,
    commands.map((command) => command.name),
  );
  throw cliError("USAGE", {
    detail: `there is no command \`${typed.slice(0, 80)}\``,
    hint: near ? `modelkeep ${near} --help` : "modelkeep help",
  });
}

function readInput(command: Command, words: readonly string[], rest: readonly string[]): CommandInput {
  if (rest.length > 0 && !command.takesProgram) {
    throw cliError("USAGE", {
      detail: `\`${command.name}\` takes no program after --`,
      hint: `modelkeep ${command.name} --help`,
    });
  }
  const options = command.options ?? [];
  const { values, positionals } = parseWords(command, options, words);
  checkPositionals(command, positionals);
  return makeInput(command, options, values, positionals, rest);
}

type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

function parseWords(
  command: Command,
  options: readonly CommandOption[],
  words: readonly string[],
): { values: Values; positionals: string[] } {
  const table = Object.fromEntries(
    options.map((option) => [
      option.flag.slice(2),
      { type: option.value ? ("string" as const) : ("boolean" as const), multiple: true },
    ]),
  );
  try {
    return parseArgs({ args: [...words], options: table, allowPositionals: true, strict: true });
  } catch (error) {
    const message = error instanceof Error ? (error.message.split(/[.\n]/)[0] ?? "") : "";
    throw cliError("USAGE", { detail: message, hint: `modelkeep ${command.name} --help` });
  }
}

function checkPositionals(command: Command, positionals: readonly string[]): void {
  const args = command.args ?? [];
  const needed = args.filter((arg) => !arg.optional);
  const missing = needed[positionals.length];
  if (missing && positionals.length < needed.length) {
    throw cliError("USAGE", { detail: `${missing.name} is missing`, hint: `modelkeep ${command.name} --help` });
  }
  if (positionals.length > args.length && !args.at(-1)?.variadic) {
    throw cliError("USAGE", {
      detail: `unexpected \`${positionals[args.length]?.slice(0, 80)}\``,
      hint: `modelkeep ${command.name} --help`,
    });
  }
}

function makeInput(
  command: Command,
  options: readonly CommandOption[],
  values: Values,
  args: readonly string[],
  rest: readonly string[],
): CommandInput {
  const fail = (detail: string) => cliError("USAGE", { detail, hint: `modelkeep ${command.name} --help` });
  const optionOf = (flag: string): CommandOption => {
    const option = options.find((candidate) => candidate.flag === flag);
    if (!option) throw new Error(`command ${command.name} has no option ${flag}`);
    return option;
  };
  const all = (flag: string): string[] => {
    const option = optionOf(flag);
    const given = [values[flag.slice(2)] ?? []].flat().filter((value): value is string => typeof value === "string");
    return given.length === 0 && option.default !== undefined ? [option.default] : given;
  };
  for (const option of options) {
    const given = option.value ? all(option.flag) : [];
    if (given.length > 1 && !option.repeatable) throw fail(`${option.flag} was given twice`);
    if (option.required && given.length === 0) throw fail(`${option.flag} is missing`);
    const wrong = given.find((value) => option.choices && !option.choices.includes(value));
    if (wrong !== undefined)
      throw fail(`${option.flag} ${wrong.slice(0, 80)}: it is one of ${option.choices?.join(", ")}`);
  }
  return {
    args,
    arg: (index) => {
      const value = args[index];
      if (value === undefined) throw fail(`${command.args?.[index]?.name ?? "an argument"} is missing`);
      return value;
    },
    rest,
    all,
    text: (flag) => all(flag)[0],
    need: (flag) => {
      const value = all(flag)[0];
      if (value === undefined) throw fail(`${flag} is missing`);
      return value;
    },
    on: (flag) => values[optionOf(flag).flag.slice(2)] !== undefined,
  };
}

function nearest(word: string, names: readonly string[]): string | undefined {
  const scored = names.map((name) => ({ name, distance: editDistance(word.slice(0, 40), name) }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.min(3, Math.ceil(word.length / 3)) ? best.name : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
