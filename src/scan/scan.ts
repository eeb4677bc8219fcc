/** Scans every file of a model; nothing of it is executed, imported or unpacked to disk. */
import { basename } from "node:path";
import { modelFilePath, openFileSource, walkModel } from "../artifact/index.ts";
import type { Progress } from "../base/index.ts";
import { scanError } from "./errors.ts";
import { inspect } from "./inspect.ts";
import { Inspection } from "./inspection.ts";
import { type FileReport, type ScanReport, worstVerdict } from "./verdict.ts";

export interface ScanOptions {
  /** A folder, or one file. */
  readonly root: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/**
 * Reports on every file, in order of path. Throws MODEL_NOT_READABLE, MODEL_EMPTY, MODEL_FILE_REFUSED (links, devices)
 * and SCAN_STOPPED; whatever stands in a file becomes a finding.
 */
export async function scanModel(options: ScanOptions): Promise<ScanReport> {
  const found = await walkModel(options.root);
  const total = found.reduce((sum, file) => sum + file.bytes, 0);
  const files: FileReport[] = [];
  let done = 0;
  for (const { path, bytes, source } of found) {
    if (options.signal?.aborted) throw scanError("SCAN_STOPPED");
    files.push(
      await scanFile(source ?? modelFilePath(options.root, path), path === "." ? basename(options.root) : path),
    );
    done += bytes;
    options.progress?.({ step: "scan", done, total, unit: "bytes" });
  }
  return { verdict: worstVerdict(files.map(({ verdict }) => verdict)), files };
}

/** Scans one file on the disk; `name` is what the report calls it. */
export async function scanFile(place: string, name: string = place): Promise<FileReport> {
  const source = await openFileSource(place);
  try {
    const inspection = new Inspection(name, inspect);
    inspect(source, inspection);
    return { path: name, verdict: inspection.findings.verdict, findings: inspection.findings.list };
  } finally {
    source.close();
  }
}
