/** The scanner's speed: the example model, a large pickle, a large archive, and all public samples. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scanFile, scanModel } from "../src/scan/index.ts";
import { latin1, zip } from "../test/scan/support.ts";

const samples = join(process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../shared/vectors"), "model-scan");
const PICKLE_ITEMS = 500_000;

function largePickle(): Buffer {
  const items = Buffer.concat(
    Array.from({ length: 1000 }, () => latin1("\x8c\x05layer\x94G\x3f\xb9\x99\x99\x99\x99\x99\x9a")),
  );
  const body = Buffer.concat(Array.from({ length: PICKLE_ITEMS / 1000 }, () => items));
  return Buffer.concat([latin1("\x80\x04}\x94("), body, latin1("u.")]);
}

async function row(
  step: string,
  work: () => Promise<{ readonly verdict: string }>,
  bytes: number,
): Promise<Record<string, unknown>> {
  const started = performance.now();
  const { verdict } = await work();
  const ms = performance.now() - started;
  const rate = bytes === 0 ? "" : (bytes / 2 ** 20 / (ms / 1000)).toFixed(0);
  return { step, ms: ms.toFixed(1), "MiB/s": rate, verdict };
}

/** One row per kind of file. */
export async function run(): Promise<readonly Record<string, unknown>[]> {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-bench-"));
  try {
    const pickle = largePickle();
    writeFileSync(join(folder, "large.pkl"), pickle);
    const archive = zip(
      Array.from({ length: 2000 }, (_, index) => ({ name: `data/${index}`, data: latin1("\x80\x02K\x01.") })),
    );
    writeFileSync(join(folder, "many.pt"), archive);
    const keeper = join(import.meta.dirname, "../examples/model/keeper");
    const rows = [
      await row("example model", () => scanModel({ root: keeper }), 0),
      await row(`pickle of ${PICKLE_ITEMS} pairs`, () => scanFile(join(folder, "large.pkl")), pickle.length),
      await row("archive of 2000 pickles", () => scanFile(join(folder, "many.pt")), archive.length),
    ];
    if (existsSync(samples)) rows.push(await row("public samples", () => scanModel({ root: samples }), 0));
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
