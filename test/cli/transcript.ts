/** Reads transcripts of the command line, and holds what a command said against them. */

/**
 * At the margin stands prose. What is indented by four spaces is the terminal: `$ ` a line for the shell, `< ` a line
 * of its standard input, `! ` a line of stderr, `? ` its exit code when that is not 0, `^C` an interrupt of what was
 * started with ` &`, and everything else stdout. `needs: a, b` at the margin asks for what `Stage` can set up.
 *
 * `<time>` and the like stand for what differs from run to run, `<name=time>` also gives it a name: `<name>` means the
 * same text further down, and the shell has it as `$name`. A line of `...` stands for any lines.
 */
export interface Transcript {
  readonly title: string;
  readonly needs: readonly string[];
  readonly steps: readonly Step[];
}

export interface Step {
  /** In the file, from 1. */
  readonly line: number;
  readonly kind: "command" | "staying" | "interrupt";
  readonly command: string;
  readonly stdin: string;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
  readonly exit: number;
}

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const INDENT = "    ";

/** What differs from run to run. */
const KINDS: Readonly<Record<string, string>> = {
  time: "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:\\.\\d+)?Z",
  date: "\\d{4}-\\d\\d-\\d\\d",
  hex: "[0-9a-f]{12,}",
  id: "[A-Za-z0-9_+/=-]{6,}",
  n: "\\d+",
  size: "\\d+(?:\\.\\d)? (?:B|kB|MB|GB)",
  word: "\\S+",
  text: ".+",
};

/** Throws when the file has no step, or a line that belongs to none: a transcript that shows nothing cannot pass. */
export function parseTranscript(text: string): Transcript {
  const lines = text.split("\n");
  const title = lines[0]?.trim() ?? "";
  if (title === "" || lines[0]?.startsWith(" ")) throw new Error("line 1: the title is missing");
  const steps: Mutable[] = [];
  const needs: string[] = [];
  lines.forEach((line, index) => {
    const asked = /^needs: (.+)$/.exec(line)?.[1];
    if (asked !== undefined) needs.push(...asked.split(/, */));
    else if (line.startsWith(INDENT)) readTerminal(line.slice(INDENT.length), index + 1, steps);
    else if (/^\s*(?:[$!?<] |\^C)/.test(line)) throw new Error(`line ${index + 1}: indent it by four spaces`);
    else if (line === "") steps.at(-1)?.stdout.push("");
  });
  if (steps.length === 0) throw new Error("a transcript without a step shows nothing");
  return { title, needs, steps: steps.map((step) => ({ ...step, stdout: trimmed(step.stdout) })) };
}

type Mutable = { -readonly [Key in keyof Step]: Step[Key] } & { stdout: string[]; stderr: string[] };

function readTerminal(line: string, at: number, steps: Mutable[]): void {
  if (line.startsWith("$ ") || line === "^C") {
    steps.push(newStep(line, at));
    return;
  }
  const step = steps.at(-1);
  if (!step) throw new Error(`line ${at}: it stands before the first command`);
  if (line.startsWith("< ")) step.stdin += `${line.slice(2)}\n`;
  else if (line.startsWith("! ")) step.stderr.push(line.slice(2));
  else if (/^\? \d+$/.test(line)) step.exit = Number(line.slice(2));
  else step.stdout.push(line);
}

function newStep(line: string, at: number): Mutable {
  const stays = line.endsWith(" &");
  return {
    line: at,
    kind: line === "^C" ? "interrupt" : stays ? "staying" : "command",
    command: stays ? line.slice(2, -2) : line.slice(2),
    stdin: "",
    stdout: [],
    stderr: [],
    exit: 0,
  };
}

/** Empty lines at the end belong to the page and not to the output. */
function trimmed(lines: readonly string[]): string[] {
  const end = lines.findLastIndex((line) => line !== "");
  return lines.slice(0, end + 1);
}

export type Names = Map<string, string>;

/** Throws with both texts when they differ; learns the names that the expectation gives. */
export function compare(step: Step, said: Said, names: Names): void {
  const wrong = [
    difference("stdout", step.stdout, said.stdout, names),
    difference("stderr", step.stderr, said.stderr, names),
    said.code === step.exit ? "" : `exit code ${said.code}, expected ${step.exit}`,
  ].filter((text) => text !== "");
  if (wrong.length > 0) throw new Error(`line ${step.line}: $ ${step.command}\n${wrong.join("\n")}\n${show(said)}`);
}

/** Whether both streams are what the step expects; learns nothing. */
export function matches(step: Step, said: Pick<Said, "stdout" | "stderr">, names: Names): boolean {
  const copy = new Map(names);
  return (
    difference("stdout", step.stdout, said.stdout, copy) === "" &&
    difference("stderr", step.stderr, said.stderr, copy) === ""
  );
}

function difference(stream: string, expected: readonly string[], actual: string, names: Names): string {
  const found = toPattern(expected, names).exec(actual.trimEnd() === "" ? "" : `${actual.trimEnd()}\n`);
  if (!found) return `${stream} is not what the transcript says:\n${expected.map((line) => `  | ${line}`).join("\n")}`;
  for (const [name, value] of Object.entries(found.groups ?? {})) names.set(name, value);
  return "";
}

function toPattern(expected: readonly string[], names: Names): RegExp {
  const seen = new Set<string>();
  const lines = expected.map((line) => (line === "..." ? "(?:.*\\n)*?" : `${linePattern(line, names, seen)}\\n`));
  return new RegExp(`^${lines.join("")}$`);
}

function linePattern(line: string, names: Names, seen: Set<string>): string {
  return line
    .split(/(<[a-z_]+(?:=[a-z]+)?>)/)
    .map((part, index) => (index % 2 === 0 ? escaped(part) : placeholder(part.slice(1, -1), names, seen)))
    .join("");
}

/** A word in angle brackets that is neither a kind nor a name is an error of the transcript, not text. */
function placeholder(inner: string, names: Names, seen: Set<string>): string {
  const [name = "", kind] = inner.split("=");
  if (kind === undefined && seen.has(name)) return `\\k<${name}>`;
  const known = kind === undefined ? names.get(name) : undefined;
  if (known !== undefined) return escaped(known);
  const pattern = KINDS[kind ?? name];
  if (pattern === undefined) throw new Error(`<${inner}> stands for nothing known`);
  if (kind === undefined) return pattern;
  seen.add(name);
  return `(?<${name}>${pattern})`;
}

function show({ code, stdout, stderr }: Said): string {
  const marked = (text: string, mark: string) =>
    text === ""
      ? []
      : text
          .trimEnd()
          .split("\n")
          .map((line) => `${INDENT}${mark}${line}`);
  return ["it said:", ...marked(stdout, ""), ...marked(stderr, "! "), `${INDENT}? ${code}`].join("\n");
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|\-/]/g, "\\$&");
}
