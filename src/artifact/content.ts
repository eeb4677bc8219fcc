/** What a signature is about: files by name, and the digests of their parts, wherever the bytes lie. */
import type { Progress } from "../base/index.ts";
import type { HashName } from "../host/index.ts";
import type { ModelFile, WalkOptions } from "./walk.ts";

export type { HashName };

export interface FileParts {
  readonly file: ModelFile;
  /** Where each part ends, in bytes; the last one is the file's length. */
  readonly ends: readonly number[];
}

/** Lower-case hex of every part; undefined when the file is not as long as the last end says. */
export type PartDigests = readonly string[] | undefined;

export interface DigestOptions {
  readonly hash: HashName;
  /** What is told of progress, for example `sign`. */
  readonly step: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
  /** 1 keeps all of it on this thread; as many as the machine has cores when absent. */
  readonly threads?: number;
}

export interface ModelContent {
  /** Its own name, without what leads to it. */
  readonly name: string;
  /** Files in code-point order; a single file is `.`. */
  walk(options?: WalkOptions): Promise<ModelFile[]>;
  /** In the order of the files. Throws MODEL_NOT_READABLE, BLAKE3_MISSING, and what the signal was aborted with. */
  digest(files: readonly FileParts[], options: DigestOptions): Promise<PartDigests[]>;
}

/** Adds up for a caller who wants to know how far the whole is. */
export function tellProgress(files: readonly FileParts[], { step, progress }: DigestOptions): (bytes: number) => void {
  if (!progress) return () => undefined;
  const total = files.reduce((sum, { ends }) => sum + (ends.at(-1) ?? 0), 0);
  let done = 0;
  return (bytes) => {
    done += bytes;
    progress({ step, done, total, unit: "bytes" });
  };
}
