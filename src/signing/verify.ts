/** Verifies a model on disk against its signature: every file, and no other. */
import { createHash } from "node:crypto";
import { type ModelFile, modelFilePath, readChunks, walkModel } from "../artifact/index.ts";
import type { Progress } from "../base/index.ts";
import { type Trust, type VerifiedManifest, verifyBundle } from "./bundle.ts";
import { signingError } from "./errors.ts";
import { SIGNING_LIMITS } from "./limits.ts";

export interface VerifyOptions {
  readonly root: string;
  readonly bundle: Uint8Array;
  readonly trust: Trust;
  /** Left out besides what the signature says; at least the signature file's own path. */
  readonly ignore?: readonly string[];
  /** Files that the signature does not list are then no finding. */
  readonly ignoreUnsigned?: boolean;
  readonly progress?: Progress;
}

export interface VerifyFinding {
  readonly rule: "missing" | "mismatch" | "unsigned";
  readonly path: string;
  readonly message: string;
}

export interface VerifyReport {
  readonly verdict: "verified" | "failed";
  readonly manifest: VerifiedManifest;
  readonly findings: readonly VerifyFinding[];
}

/** Throws like `verifyBundle`; what is wrong with files is in the report. */
export async function verifyModel(options: VerifyOptions): Promise<VerifyReport> {
  const manifest = verifyBundle(options.bundle, options.trust);
  const { method, hashType, ignorePaths } = manifest.serialization;
  if (hashType === "blake3") throw signingError("SIGNING_METHOD_UNSUPPORTED", { detail: "BLAKE3 digests" });
  const files = await walkModel(options.root, { ignore: [...ignorePaths, ...(options.ignore ?? [])] });
  const expected = method === "files" ? wholeFiles(manifest) : shardsOf(manifest, files);
  const findings = await compare(options, files, expected, hashType === "blake2b" ? "blake2b512" : "sha256");
  return { verdict: findings.length === 0 ? "verified" : "failed", manifest, findings };
}

interface Expected {
  readonly end: number | undefined;
  readonly digest: string;
}

/** Path → consecutive ranges with their digests. */
function wholeFiles(manifest: VerifiedManifest): Map<string, Expected[]> {
  return new Map(manifest.resources.map(({ name, digest }) => [name, [{ end: undefined, digest }]]));
}

/** `path:start:end`; the suffix is the last two integers, and the shards of a file must join without hole or overlap. */
function shardsOf(manifest: VerifiedManifest, files: readonly ModelFile[]): Map<string, Expected[]> {
  const ranges = new Map<string, { start: number; end: number; digest: string }[]>();
  for (const { name, digest } of manifest.resources) {
    const match = /^(.+):(\d{1,15}):(\d{1,15})$/s.exec(name);
    if (!match) throw signingError("BUNDLE_INVALID", { detail: `${name.slice(0, 200)} names no shard` });
    const [, path = "", start, end] = match;
    ranges.set(path, [...(ranges.get(path) ?? []), { start: Number(start), end: Number(end), digest }]);
  }
  for (const file of files) if (file.bytes === 0 && !ranges.has(file.path)) ranges.set(file.path, []);
  return new Map([...ranges].map(([path, list]) => [path, joined(path, list)]));
}

function joined(path: string, list: { start: number; end: number; digest: string }[]): Expected[] {
  const sorted = list.sort((a, b) => a.start - b.start);
  let at = 0;
  for (const { start, end } of sorted) {
    if (start !== at || end <= start)
      throw signingError("MODEL_NOT_AS_SIGNED", {
        detail: `the shards of ${path.slice(0, 200)} overlap or leave a hole`,
      });
    at = end;
  }
  return sorted;
}

async function compare(
  options: VerifyOptions,
  files: readonly ModelFile[],
  expected: ReadonlyMap<string, readonly Expected[]>,
  hash: string,
): Promise<VerifyFinding[]> {
  const findings: VerifyFinding[] = [];
  const onDisk = new Map(files.map((file) => [file.path, file]));
  const add = (rule: VerifyFinding["rule"], path: string, message: string) => {
    if (findings.length < SIGNING_LIMITS.findings) findings.push({ rule, path, message });
  };
  for (const [path, ranges] of expected) {
    const file = onDisk.get(path);
    if (!file) add("missing", path, "is signed but not there");
    else if (!(await matches(options, file, ranges, hash))) add("mismatch", path, "is not what was signed");
  }
  for (const { path } of files)
    if (!expected.has(path) && !options.ignoreUnsigned) add("unsigned", path, "is there but not signed");
  return findings;
}

async function matches(
  options: VerifyOptions,
  file: ModelFile,
  ranges: readonly Expected[],
  hash: string,
): Promise<boolean> {
  const last = ranges.at(-1);
  if (last?.end !== undefined && last.end !== file.bytes) return false;
  let index = 0;
  let position = 0;
  let current = createHash(hash);
  for await (const chunk of readChunks(modelFilePath(options.root, file.path))) {
    let rest: Uint8Array = chunk;
    while (rest.length > 0) {
      const end = ranges[index]?.end ?? Number.POSITIVE_INFINITY;
      const take = rest.subarray(0, Math.min(rest.length, end - position));
      current.update(take);
      position += take.length;
      rest = rest.subarray(take.length);
      if (position !== end) continue;
      if (current.digest("hex") !== ranges[index]?.digest) return false;
      index++;
      current = createHash(hash);
    }
    options.progress?.({ step: "verify", done: position, total: file.bytes, unit: "bytes" });
  }
  if (ranges.length === 0) return position === 0;
  return ranges[0]?.end === undefined ? current.digest("hex") === ranges[0]?.digest : index === ranges.length;
}
