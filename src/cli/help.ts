/** Help texts: examples first, from the command table. */
import type { Command } from "./command.ts";

export function helpOfAll(commands: readonly Command[], version: string): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  const lines = commands.map((command) => `  ${command.name.padEnd(width)}  ${firstSentence(command.about)}`);
  return [
    `modelkeep ${version}: keeps the secrets and the weights of AI deployments.`,
    "",
    "Start here:",
    "  modelkeep serve                      a server with embedded defaults",
    "  modelkeep login --server URL         log in with the one-time code it printed",
    "  modelkeep doctor                     check this machine",
    "",
    "Commands:",
    ...lines,
    "",
    "`modelkeep COMMAND --help` shows examples. Every command takes --json.",
    "Exit codes: 0 done, 1 failed, 2 usage, 3 denied, 4 verification failed, 5 key or lease not granted,",
    "            6 unreachable, 7 findings, 130 interrupted.",
    "",
  ].join("\n");
}

export function helpOfCommand(command: Command): string {
  return [
    command.about,
    "",
    "Examples:",
    ...command.examples.flatMap((example) => [`  # ${example.about}`, `  ${example.line}`]),
    "",
    `Usage: ${usageLine(command)}`,
    "",
    ...rows(
      "Arguments:",
      (command.args ?? []).map((arg) => [arg.name, arg.about]),
    ),
    ...rows("Options:", [
      ...(command.options ?? []).map(optionRow),
      ["--json", "print one JSON object on stdout"],
      ["--help", "this text"],
    ]),
  ].join("\n");
}

export function usageLine(command: Command): string {
  const args = (command.args ?? []).map((arg) => {
    const name = arg.variadic ? `${arg.name}...` : arg.name;
    return arg.optional ? `[${name}]` : name;
  });
  const required = (command.options ?? [])
    .filter((option) => option.required)
    .map((option) => `${option.flag} ${option.value ?? ""}`.trim());
  const program = command.takesProgram ? ["--", "COMMAND..."] : [];
  return ["modelkeep", command.name, ...args, ...required, "[options]", ...program].join(" ");
}

/** Commands whose name starts with the words, for `modelkeep scan`. */
export function helpOfGroup(commands: readonly Command[], words: string): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  return [
    `Commands of \`modelkeep ${words}\`:`,
    ...commands.map((c) => `  ${c.name.padEnd(width)}  ${firstSentence(c.about)}`),
    "",
  ].join("\n");
}

function optionRow(option: NonNullable<Command["options"]>[number]): [string, string] {
  const notes = [
    option.choices ? `one of ${option.choices.join(", ")}` : "",
    option.default === undefined ? "" : `default ${option.default}`,
    option.repeatable ? "may be repeated" : "",
    option.required ? "required" : "",
  ].filter((note) => note !== "");
  return [
    `${option.flag} ${option.value ?? ""}`.trim(),
    option.about + (notes.length > 0 ? ` (${notes.join("; ")})` : ""),
  ];
}

function rows(title: string, entries: readonly (readonly string[])[]): string[] {
  if (entries.length === 0) return [];
  const width = Math.max(...entries.map(([name]) => name?.length ?? 0));
  return [title, ...entries.map(([name, about]) => `  ${(name ?? "").padEnd(width)}  ${about}`), ""];
}

function firstSentence(text: string): string {
  return text.split(/(?<=\.)\s/)[0]?.replace(/\.$/, "") ?? text;
}
