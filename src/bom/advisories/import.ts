/** Imports OSV dumps: an index is built on a thread with a small heap, and takes the place of the older one when it is whole. */
import { dirname } from "node:path";
import { ModelkeepError, type Progress } from "../../base/index.ts";
import { files, processInfo, runThreadTask, syncFolder, threadProgram } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { type BuildPlan, buildIndex, type ImportReport } from "./build-index.ts";
import type { FromBuild } from "./build-worker.ts";

export type { ImportReport } from "./build-index.ts";

export interface ImportOptions {
  /** Zip archives, folders or single records of OSV. */
  readonly from: readonly string[];
  /** Where the index goes; an older one is replaced when the new one is whole. */
  readonly into: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/**
 * Fails with ADVISORY_DUMP_INVALID when there is no record at all, ADVISORY_TOO_LARGE when a record needs more memory
 * than there is for it, LIMIT_EXCEEDED beyond BOM_LIMITS, BOM_STOPPED.
 */
export async function importAdvisories(options: ImportOptions): Promise<ImportReport> {
  await files.mkdir(dirname(options.into), { recursive: true });
  const temporary = `${options.into}.${processInfo().pid}.tmp`;
  const packages = BOM_LIMITS.advisoryPackages;
  const paths = { from: options.from, index: temporary, spill: `${temporary}.spill`, packages };
  try {
    const report = await buildSmallFirst(paths, options);
    await files.rename(temporary, options.into);
    await syncFolder(dirname(options.into));
    return report;
  } finally {
    await files.rm(paths.spill, { force: true });
    await files.rm(temporary, { force: true });
  }
}

type BuildPaths = Omit<BuildPlan, "recordBytes">;

/** Nearly every dump fits; the one that does not is read twice. */
async function buildSmallFirst(paths: BuildPaths, options: ImportOptions): Promise<ImportReport> {
  const { importHeapMib, importUsualBytes, importLargeHeapMib, advisoryBytes } = BOM_LIMITS;
  try {
    return await build({ ...paths, recordBytes: importUsualBytes }, importHeapMib, options);
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code !== "ADVISORY_TOO_LARGE") throw error;
    return await build({ ...paths, recordBytes: advisoryBytes }, importLargeHeapMib, options);
  }
}

async function build(plan: BuildPlan, heapMib: number, { progress, signal }: ImportOptions): Promise<ImportReport> {
  let reading = "";
  const told = (message: unknown) => {
    const news = message as FromBuild;
    if ("reading" in news) reading = news.reading;
    else progress?.({ step: "import", done: news.records, total: 0, unit: "records" });
  };
  try {
    const built = await runThreadTask({
      program: threadProgram("./build-worker", import.meta.url),
      data: plan,
      heapMib,
      youngHeapMib: BOM_LIMITS.importYoungHeapMib,
      told,
      ...(signal ? { signal } : {}),
    });
    return built ? (built.answer as ImportReport) : await buildIndex(plan, told, signal);
  } catch (error) {
    if (signal?.aborted) throw bomError("BOM_STOPPED");
    if (!(error instanceof ModelkeepError) || error.code !== "THREAD_OVER_MEMORY") throw error;
    throw bomError("ADVISORY_TOO_LARGE", { detail: reading, cause: error });
  }
}
