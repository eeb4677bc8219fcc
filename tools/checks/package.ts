/** Holds what the published package contains: the build, the command, the licence, and no test, source map or secret. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { type Checker, type Finding, root } from "./source.ts";

const MAX_FILES = 2_000;
const ALLOWED =
  /^(bin\/modelkeep(-conformance)?\.mjs|dist\/.+\.(js|d\.ts)|spec\/([a-z-]+\.md|vectors\/[a-z0-9-]+\.json)|README\.md|LICENSE|CHANGELOG\.md|SECURITY\.md|package\.json)$/;
const REQUIRED = [
  "bin/modelkeep.mjs",
  "bin/modelkeep-conformance.mjs",
  "dist/cli/main.js",
  "README.md",
  "LICENSE",
  "package.json",
];

export const packageContents: Checker = {
  name: "package contents",
  run() {
    execFileSync(`${root}/node_modules/.bin/tsc`, ["-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
    const listed: unknown = JSON.parse(
      execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts", "--loglevel=error"], {
        cwd: root,
        maxBuffer: 1 << 26,
      }).toString(),
    );
    const files = filesOf(listed);
    const findings: Finding[] = [
      ...files
        .filter((path) => !ALLOWED.test(path))
        .map((path) => ({ where: path, message: "does not belong in the package" })),
      ...REQUIRED.filter((path) => !files.includes(path)).map((path) => ({
        where: path,
        message: "is missing from the package",
      })),
      ...exportsOf()
        .filter((path) => !files.includes(path))
        .map((path) => ({ where: path, message: "is exported but not in the package" })),
    ];
    if (files.length > MAX_FILES)
      findings.push({ where: "package", message: `${files.length} files, at most ${MAX_FILES}` });
    return { seen: files.length, findings };
  },
};

function filesOf(listed: unknown): string[] {
  const [first] = (Array.isArray(listed) ? listed : Object.values(listed as object)) as { files: { path: string }[] }[];
  return (first?.files ?? []).map(({ path }) => path);
}

function exportsOf(): string[] {
  const manifest = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as { exports: Record<string, string> };
  return Object.values(manifest.exports).map((path) => path.replace(/^\.\//, ""));
}
