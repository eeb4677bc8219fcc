/** Shell completion, made from the command table. */
import type { Command } from "./command.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export function completionScript(shell: Shell, commands: readonly Command[]): string {
  if (shell === "fish") return fishScript(commands);
  const bash = bashScript(commands);
  return shell === "bash" ? bash : `autoload -U +X bashcompinit && bashcompinit\n${bash}`;
}

function bashScript(commands: readonly Command[]): string {
  const firsts = unique(commands.map((command) => command.name.split(" ")[0] ?? ""));
  const cases = commands.map((command) => `    "${command.name}") words="${flagsOf(command).join(" ")}" ;;`);
  const groups = firsts.flatMap((first) => {
    const seconds = commands
      .map((command) => command.name.split(" "))
      .filter((words) => words[0] === first && words[1])
      .map((words) => words[1] ?? "");
    return seconds.length === 0 ? [] : [`    "${first}") words="${unique(seconds).join(" ")}" ;;`];
  });
  return [
    "_modelkeep() {",
    '  local words="" current="${COMP_WORDS[COMP_CWORD]}"',
    '  local one="${COMP_WORDS[1]}" two="${COMP_WORDS[1]} ${COMP_WORDS[2]}"',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    words="${firsts.join(" ")} help version"`,
    "  else",
    '    case "$two" in',
    ...cases.filter((line) => / /.test(line.trim().split('"')[1] ?? "")).map((line) => `  ${line}`),
    '      *) case "$one" in',
    ...cases.filter((line) => !/ /.test(line.trim().split('"')[1] ?? "")).map((line) => `    ${line}`),
    ...groups.map((line) => `    ${line}`),
    "      esac ;;",
    "    esac",
    "  fi",
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    '  case "$current" in -*) ;; *) [ "$COMP_CWORD" -gt 1 ] && COMPREPLY+=($(compgen -f -- "$current")) ;; esac',
    "}",
    "complete -o filenames -F _modelkeep modelkeep",
    "",
  ].join("\n");
}

function fishScript(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => {
    const [first, second] = command.name.split(" ");
    const about = command.about.split(".")[0]?.replaceAll("'", "") ?? "";
    const seen = second
      ? `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`
      : `__fish_seen_subcommand_from ${first}`;
    const self = second
      ? `complete -c modelkeep -n '__fish_seen_subcommand_from ${first}' -a '${second}' -d '${about}'`
      : `complete -c modelkeep -n __fish_use_subcommand -a '${first}' -d '${about}'`;
    return [self, ...flagsOf(command).map((flag) => `complete -c modelkeep -n '${seen}' -l ${flag.slice(2)}`)];
  });
  const groups = unique(commands.filter((c) => c.name.includes(" ")).map((c) => c.name.split(" ")[0] ?? ""));
  return [...groups.map((group) => `complete -c modelkeep -n __fish_use_subcommand -a '${group}'`), ...lines, ""].join(
    "\n",
  );
}

function flagsOf(command: Command): string[] {
  return [...(command.options ?? []).map((option) => option.flag), "--json", "--help"];
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)].filter((value) => value !== "");
}
