/** A model on this machine: a folder or a single file, hashed by threads. */
import { basename, resolve } from "node:path";
import { type FileRun, HASH_LIMITS, hashRuns, UnreadableFile } from "../host/index.ts";
import { type DigestOptions, type FileParts, type ModelContent, type PartDigests, tellProgress } from "./content.ts";
import { modelFilePath } from "./digest.ts";
import { artifactError } from "./errors.ts";
import { type ModelFile, type WalkOptions, walkModel } from "./walk.ts";

export class FolderContent implements ModelContent {
  readonly name: string;
  readonly #root: string;

  constructor(root: string) {
    this.name = basename(resolve(root));
    this.#root = root;
  }

  walk(options: WalkOptions = {}): Promise<ModelFile[]> {
    return walkModel(this.#root, options);
  }

  async digest(files: readonly FileParts[], options: DigestOptions): Promise<PartDigests[]> {
    const runs = files.map((parts) => this.#runsOf(parts));
    const { hash, signal, threads } = options;
    const settings = { hash, ...(signal ? { signal } : {}), ...(threads === undefined ? {} : { threads }) };
    const digests = await hashRuns(runs.flat(), { ...settings, told: tellProgress(files, options) }).catch(rethrow);
    let at = 0;
    return runs.map(({ length }) => {
      const own = digests.slice(at, at + length);
      at += length;
      return own.every((run) => run !== undefined) ? own.flat() : undefined;
    });
  }

  /** Parts that one thread takes together; a part itself is never divided. */
  #runsOf({ file, ends }: FileParts): FileRun[] {
    const path = file.source ?? modelFilePath(this.#root, file.path);
    const runs: FileRun[] = [];
    let start = 0;
    let from = 0;
    for (const [index, end] of ends.entries()) {
      const isLast = index === ends.length - 1;
      const next = ends[index + 1] ?? Number.POSITIVE_INFINITY;
      if (!isLast && next - start <= HASH_LIMITS.batchBytes) continue;
      runs.push({ path, start, ends: ends.slice(from, index + 1), isLast });
      [start, from] = [end, index + 1];
    }
    return runs;
  }
}

function rethrow(error: unknown): never {
  if (!(error instanceof UnreadableFile)) throw error;
  throw artifactError("MODEL_NOT_READABLE", { detail: error.message, cause: error });
}
