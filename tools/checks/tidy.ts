/** Holds the size and shape of files and functions, and that the text speaks of the project alone. */
import { type Checker, type Finding, type SourceFile, sourceFiles } from "./source.ts";

const MAX_FILE_LINES = 400;
const MAX_FUNCTION_LINES = 70;
const COMPOSITION_ROOT = "src/server/server.ts";
const MAX_COMPOSITION_ROOT_LINES = 200;

/** Words that must not be in the project's own text. */
const FORBIDDEN = [
  { pattern: /\b(TODO|FIXME|XXX|HACK)\b/, message: "unfinished work: finish it or file an issue" },
  { pattern: /(?<![\w/.])\/(?:work|root|home\/[a-z]+)\//, message: "a path of somebody's machine" },
  { pattern: /registry\.(?:npmjs|yarnpkg)\.[a-z]+/, message: "the host of a package registry" },
];

export const tidy: Checker = {
  name: "tidy",
  run() {
    const code = sourceFiles(["src", "test", "tools", "bench", "bin"], /\.(ts|mjs)$/);
    const text = sourceFiles(["."], /\.(ts|mjs|md|toml|json|yml|yaml|sh|py)$/).filter(
      (file) => !file.path.startsWith("tools/checks/") && !file.path.includes("keeper/"),
    );
    return {
      seen: code.length,
      findings: [...code.flatMap(checkCode), ...text.flatMap(checkWords)],
    };
  },
};

function checkCode(file: SourceFile): Finding[] {
  const findings: Finding[] = [];
  const first = file.lines[file.lines[0]?.startsWith("#!") ? 1 : 0] ?? "";
  if (!/^(\/\*\*|\/\/) \S/.test(first))
    findings.push({ where: file.path, message: "the first line says what the file is for" });
  if (file.path.startsWith("src/") && file.lines.length > MAX_FILE_LINES) {
    findings.push({ where: file.path, message: `${file.lines.length} lines, at most ${MAX_FILE_LINES}` });
  }
  if (file.path === COMPOSITION_ROOT && file.lines.length > MAX_COMPOSITION_ROOT_LINES) {
    findings.push({
      where: file.path,
      message: `the composition root has ${file.lines.length} lines, at most ${MAX_COMPOSITION_ROOT_LINES}`,
    });
  }
  if (file.path.startsWith("src/")) findings.push(...checkFunctions(file), ...checkLoose(file));
  return findings;
}

/** A function ends at the first line that closes with the indentation it began with; the formatter guarantees that. */
function checkFunctions(file: SourceFile): Finding[] {
  const start =
    /^(\s*)(?:export )?(?:default )?(?:static )?(?:private )?(?:async )?(?:function\b|(?:get |set )?#?[a-zA-Z_]\w*\([^)]*\)(?:: [^{=]+)? \{$|(?:const|let) \w+ = (?:async )?\([^)]*\)(?:: [^=]+)? => \{$)/;
  return file.lines.flatMap((line, index) => {
    const match = start.exec(line);
    if (!match || /^\s*(if|for|while|switch|catch|return)\b/.test(line)) return [];
    const end = file.lines.findIndex(
      (other, at) => at > index && (other.startsWith(`${match[1]}}`) || other.startsWith(`${match[1]});`)),
    );
    const length = end === -1 ? 0 : end - index + 1;
    return length > MAX_FUNCTION_LINES
      ? [
          {
            where: `${file.path}:${index + 1}`,
            message: `a function of ${length} lines, at most ${MAX_FUNCTION_LINES}`,
          },
        ]
      : [];
  });
}

function checkLoose(file: SourceFile): Finding[] {
  return file.lines.flatMap((line, index) =>
    /\bas any\b|: any\b|@ts-(?:ignore|nocheck)/.test(line)
      ? [{ where: `${file.path}:${index + 1}`, message: "loosens the types" }]
      : [],
  );
}

function checkWords(file: SourceFile): Finding[] {
  return file.lines.flatMap((line, index) =>
    FORBIDDEN.filter(({ pattern }) => pattern.test(line)).map(({ message }) => ({
      where: `${file.path}:${index + 1}`,
      message,
    })),
  );
}
