/** Matching 500 packages with the index cold and warm, making a bill of materials, and importing the dump. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBom, importAdvisories, matchAdvisories, openAdvisories, type PackageRef } from "../src/bom/index.ts";

const osv = join(process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../shared/vectors"), "osv");
const PACKAGES = 500;

/** The packages of the ground truth, then neighbours of them that nobody knows. */
function packages(): PackageRef[] {
  const { pairs } = JSON.parse(readFileSync(join(osv, "ground-truth.json"), "utf8")) as {
    pairs: { package: string; version: string }[];
  };
  return Array.from({ length: PACKAGES }, (_, index) => {
    const pair = pairs[index % pairs.length];
    const name = index < pairs.length ? pair?.package : `${pair?.package}-${index}`;
    return { ecosystem: "PyPI", name: name ?? "", version: pair?.version ?? "" };
  });
}

async function timed<T>(work: () => T | Promise<T>): Promise<{ ms: number; result: T }> {
  const started = performance.now();
  const result = await work();
  return { ms: performance.now() - started, result };
}

/** One row per step; empty without the vectors. */
export async function run(): Promise<readonly Record<string, unknown>[]> {
  if (!existsSync(osv)) return [];
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-bench-"));
  try {
    const into = join(folder, "advisories.idx");
    const imported = await timed(() => importAdvisories({ from: [join(osv, "PyPI/all.zip")], into }));
    const list = packages();
    const cold = await timed(async () => {
      const index = await openAdvisories(into);
      return { index, matches: matchAdvisories(list, index) };
    });
    const warm = await timed(() => matchAdvisories(list, cold.result.index));
    const keeper = join(import.meta.dirname, "../examples/model/keeper");
    const made = await timed(() => createBom({ root: keeper }));
    cold.result.index.close();
    const row = (step: string, ms: number, about: string) => ({ step, ms: ms.toFixed(1), about });
    return [
      row(
        "import",
        imported.ms,
        `${imported.result.records} records, index of ${(statSync(into).size / 2 ** 20).toFixed(1)} MiB`,
      ),
      row(
        "match cold",
        cold.ms,
        `${PACKAGES} packages, about 100 of them known, ${cold.result.matches.length} matches, opening included`,
      ),
      row("match warm", warm.ms, `${PACKAGES} packages`),
      row("bom create", made.ms, "the example model, 7 MB"),
      { step: "memory", ms: "", about: `${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB RSS at the end` },
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
