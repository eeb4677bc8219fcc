/** One step of the benchmark in a process of its own, with the built program: prints times and the peak of memory as JSON. */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type * as Bom from "../../src/bom/index.ts";

const [door = "", step = "", path = "", input = ""] = process.argv.slice(2);
const bom = (await import(pathToFileURL(door).href)) as typeof Bom;
const baseMiB = process.resourceUsage().maxRSS / 1024;
const started = performance.now();
const result = step === "import" ? await importDump() : await matchList();
process.stdout.write(JSON.stringify({ ...result, baseMiB, peakMiB: process.resourceUsage().maxRSS / 1024 }));

async function importDump() {
  const { records } = await bom.importAdvisories({ from: [input], into: path });
  return { ms: performance.now() - started, warmMs: 0, count: records };
}

async function matchList() {
  const list = JSON.parse(readFileSync(input, "utf8")) as Bom.PackageRef[];
  const index = await bom.openAdvisories(path);
  const { length } = bom.matchAdvisories(list, index);
  const ms = performance.now() - started;
  const again = performance.now();
  bom.matchAdvisories(list, index);
  return { ms, warmMs: performance.now() - again, count: length };
}
