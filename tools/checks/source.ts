/** Reads the project's source files for the checkers. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

export interface Finding {
  readonly where: string;
  readonly message: string;
}

export interface Checker {
  readonly name: string;
  /** Number of things it looked at; a checker that saw none has failed. */
  run(): { readonly seen: number; readonly findings: readonly Finding[] };
}

/** Files that git knows or would add, under the folders, with the ending. */
export function sourceFiles(folders: readonly string[], ending: RegExp): SourceFile[] {
  const listed = execFileSync(
    "git",
    ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", ...folders],
    { cwd: root, maxBuffer: 1 << 26 },
  );
  const paths = listed
    .toString()
    .split("\0")
    .filter((path) => ending.test(path) && existsSync(`${root}/${path}`));
  return paths.sort().map((path) => {
    const text = readFileSync(`${root}/${path}`, "utf8");
    return { path, text, lines: text.split("\n") };
  });
}
