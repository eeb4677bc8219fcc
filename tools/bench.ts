/** `npm run bench -- NAME`: runs one benchmark of bench/ and prints its table. */
import { globSync } from "node:fs";
import { cpus } from "node:os";
import { basename } from "node:path";
import { root } from "./checks/source.ts";

const [name] = process.argv.slice(2);
const names = globSync("bench/*.ts", { cwd: root })
  .map((path) => basename(path, ".ts"))
  .sort();
if (!name || !names.includes(name)) {
  process.stderr.write(
    `error: ${name ? `there is no benchmark \`${name}\`` : "which benchmark?"}\nhint: npm run bench -- ${names.join(" | ")}\n`,
  );
  process.exit(2);
}
const { run } = (await import(`../bench/${name}.ts`)) as { run(): Promise<readonly Record<string, unknown>[]> };
process.stdout.write(
  `${name}, ${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}, ${cpus().length} x ${cpus()[0]?.model ?? "unknown"}\n`,
);
const rows = await run();
if (rows.length === 0) throw new Error(`the benchmark ${name} measured nothing`);
const columns = Object.keys(rows[0] ?? {});
process.stdout.write(`| ${columns.join(" | ")} |\n|${columns.map(() => "---").join("|")}|\n`);
for (const row of rows) process.stdout.write(`| ${columns.map((column) => String(row[column] ?? "")).join(" | ")} |\n`);
process.exit(0);
