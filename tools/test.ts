/** `npm test`: runs the whole suite on the project's Node, tells what was skipped and how to have it, counts. */
import { globSync, mkdirSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { root } from "./checks/source.ts";
import { installEngine } from "./engine.ts";

const wanted = process.argv.slice(2);
const files = globSync(["test/**/*.test.ts", "examples/**/*.test.mjs"], {
  cwd: root,
  exclude: (name) => String(name).includes("node_modules"),
})
  .filter((file) => wanted.length === 0 || wanted.some((word) => file.includes(word)))
  .map((file) => `${root}/${file}`)
  .sort();
if (files.length === 0) throw new Error(`no test file matches ${wanted.join(" ")}`);
mkdirSync(`${root}/.cache`, { recursive: true });
installEngine();

const FILE_TIMEOUT_MS = 10 * 60_000;
const stream = run({ files, concurrency: 2, timeout: FILE_TIMEOUT_MS });
const skipped: string[] = [];
let passed = 0;
let failed = 0;
stream.on("test:pass", (data) => {
  if (data.skip !== undefined)
    skipped.push(`${data.name}: ${typeof data.skip === "string" ? data.skip : "no reason given"}`);
  else if (data.details.type !== "suite") passed++;
});
stream.on("test:fail", (data) => {
  if (data.details.type !== "suite") failed++;
});
stream.compose(spec()).pipe(process.stdout);
stream.on("end", () => {
  process.stdout.write(
    skipped.length === 0
      ? "\nnothing was skipped\n"
      : `\nskipped ${skipped.length}:\n${skipped.map((line) => `  ${line}\n`).join("")}`,
  );
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
});
