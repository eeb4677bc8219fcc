/** `npm run check`: runs every checker, prints what each looked at, fails when one found something or saw nothing. */
import { spawnSync } from "node:child_process";
import { docsInSync } from "./checks/docs.ts";
import { floors } from "./checks/floors.ts";
import { packageContents } from "./checks/package.ts";
import { type Checker, root } from "./checks/source.ts";
import { tidy } from "./checks/tidy.ts";

const checkers: readonly Checker[] = [floors, tidy, docsInSync, packageContents];
const programs: readonly (readonly [string, ...string[]])[] = [
  ["tsc", "-p", "."],
  ["biome", "ci", "--error-on-warnings"],
  ["knip", "--no-config-hints"],
  ["publint", "--strict", "--pack", "npm"],
];

let failed = 0;
let passed = 0;
for (const checker of checkers) {
  const { seen, findings } = runChecker(checker);
  for (const { where, message } of findings) process.stdout.write(`${where}: ${message}\n`);
  report(checker.name, seen > 0 && findings.length === 0, `${seen} seen, ${findings.length} findings`);
}
for (const [program, ...args] of programs) {
  const done = spawnSync(`${root}/node_modules/.bin/${program}`, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  report(program, done.status === 0, done.status === 0 ? "clean" : `exit ${done.status}`);
}
process.stdout.write(`check: ${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

/** A checker that breaks is a finding, and the others still run. */
function runChecker(checker: Checker): ReturnType<Checker["run"]> {
  try {
    return checker.run();
  } catch (error) {
    const message = error instanceof Error ? (error.message.split("\n")[0] ?? "") : "unknown";
    return { seen: 1, findings: [{ where: checker.name, message }] };
  }
}

function report(name: string, ok: boolean, note: string): void {
  if (ok) passed++;
  else failed++;
  process.stdout.write(`${ok ? "ok  " : "FAIL"} ${name}: ${note}\n`);
}
