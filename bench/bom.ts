/** Matching 500 packages with the index cold and warm, making a bill of materials, importing the dump; memory of the built program. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBom } from "../src/bom/index.ts";
import { root } from "../tools/checks/source.ts";

const osv = join(process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../shared/vectors"), "osv");
const PACKAGES = 500;

interface Measured {
  readonly ms: number;
  readonly warmMs: number;
  readonly count: number;
  readonly baseMiB: number;
  readonly peakMiB: number;
}

/** The packages of the ground truth, then neighbours of them that nobody knows. */
function packages(): object[] {
  const { pairs } = JSON.parse(readFileSync(join(osv, "ground-truth.json"), "utf8")) as {
    pairs: { package: string; version: string }[];
  };
  return Array.from({ length: PACKAGES }, (_, index) => {
    const pair = pairs[index % pairs.length];
    const name = index < pairs.length ? pair?.package : `${pair?.package}-${index}`;
    return { ecosystem: "PyPI", name: name ?? "", version: pair?.version ?? "" };
  });
}

/** Below node_modules, where the packages that it imports are found. */
function build(): string {
  const folder = join(root, "node_modules", ".cache", "modelkeep-bench");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const flags = ["-p", "tsconfig.build.json", "--outDir", folder];
  execFileSync(join(root, "node_modules/.bin/tsc"), flags, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  // As it is built too: what takes types away would count as the program's memory.
  const child = stripTypeScriptTypes(readFileSync(join(import.meta.dirname, "bom/child.ts"), "utf8"));
  writeFileSync(join(folder, "child.mjs"), child);
  return folder;
}

function measure(built: string, step: string, index: string, input: string): Measured {
  const words = [join(built, "child.mjs"), join(built, "bom/index.js"), step, index, input];
  return JSON.parse(execFileSync(process.execPath, words, { encoding: "utf8" })) as Measured;
}

/** One row per step; empty without the vectors. */
export async function run(): Promise<readonly Record<string, unknown>[]> {
  if (!existsSync(osv)) return [];
  const built = build();
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-bench-"));
  try {
    const into = join(folder, "advisories.idx");
    const list = join(folder, "packages.json");
    writeFileSync(list, JSON.stringify(packages()));
    const imported = measure(built, "import", into, join(osv, "PyPI/all.zip"));
    const matched = measure(built, "match", into, list);
    const started = performance.now();
    await createBom({ root: join(import.meta.dirname, "../examples/model/keeper") });
    const madeMs = performance.now() - started;
    const row = (step: string, ms: number, peakMiB: number | undefined, about: string) => ({
      step,
      ms: ms.toFixed(1),
      "peak MiB": peakMiB === undefined ? "" : Math.round(peakMiB),
      about,
    });
    const size = `${(statSync(into).size / 2 ** 20).toFixed(1)} MiB`;
    const known = `${PACKAGES} packages, about 100 of them known, ${matched.count} matches, opening included`;
    return [
      row("import", imported.ms, imported.peakMiB, `${imported.count} records, index of ${size}`),
      row("match cold", matched.ms, matched.peakMiB, known),
      row("match warm", matched.warmMs, undefined, `${PACKAGES} packages`),
      row("bom create", madeMs, undefined, "the example model, 7 MB"),
      row("program loaded", 0, matched.baseMiB, "before the first step"),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
    rmSync(built, { recursive: true, force: true });
  }
}
