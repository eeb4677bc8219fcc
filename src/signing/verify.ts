/** Verifies a model on disk against its signature: every file, and no other. */
import { createHash } from "node:crypto";
import { type ModelFile, modelFilePath, readChunks, walkModel } from "../artifact/index.ts";
import type { Progress } from "../base/index.ts";
import { type Trust, type VerifiedManifest, verifyBundle } from "./bundle.ts";
import { signingError } from "./errors.ts";
import { SIGNING_LIMITS } from "./limits.ts";
import { type Shard, shardsOf } from "./manifest.ts";

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
  /** `refused` is a link, a device or a socket. */
  readonly rule: "missing" | "mismatch" | "unsigned" | "refused";
  readonly path: string;
  readonly message: string;
}

export interface VerifyReport {
  readonly verdict: "verified" | "failed";
  readonly manifest: VerifiedManifest;
  /** At most SIGNING_LIMITS.findings of them. */
  readonly findings: readonly VerifyFinding[];
  /** How many there are in all. */
  readonly findingsTotal: number;
}

/** Another implementation leaves this one out too, and a signature does not say so: no finding when it is not signed. */
const ALSO_IGNORED = ".gitmodules";

/** Throws like `verifyBundle`; what is wrong with files is in the report, all of it. */
export async function verifyModel(options: VerifyOptions): Promise<VerifyReport> {
  const manifest = verifyBundle(options.bundle, options.trust);
  if (manifest.serialization.hashType === "blake3")
    throw signingError("SIGNING_METHOD_UNSUPPORTED", { detail: "BLAKE3 digests" });
  return new Verification(options, manifest).run();
}

/** The ranges of a file that have a digest of their own; a whole file has one without an end. */
type Expected = readonly { readonly end?: number; readonly digest: string }[];

class Verification {
  readonly #options: VerifyOptions;
  readonly #manifest: VerifiedManifest;
  readonly #hash: string;
  readonly #expected: Map<string, Expected>;
  readonly #findings: VerifyFinding[] = [];
  readonly #refused = new Set<string>();
  #total = 0;

  constructor(options: VerifyOptions, manifest: VerifiedManifest) {
    this.#options = options;
    this.#manifest = manifest;
    this.#hash = manifest.serialization.hashType === "blake2b" ? "blake2b512" : "sha256";
    this.#expected = expectedOf(manifest);
  }

  async run(): Promise<VerifyReport> {
    const found = await this.#walk();
    for (const [path, ranges] of this.#expected) {
      const file = found.get(path);
      if (this.#refused.has(path)) continue;
      if (!file) this.#add("missing", path, "is signed but not there");
      else if (!(await this.#matches(file, ranges))) this.#add("mismatch", path, "is not what was signed");
    }
    for (const [path, file] of found) if (!this.#isSigned(file)) this.#add("unsigned", path, "is there but not signed");
    return {
      verdict: this.#total === 0 ? "verified" : "failed",
      manifest: this.#manifest,
      findings: this.#findings,
      findingsTotal: this.#total,
    };
  }

  async #walk(): Promise<Map<string, ModelFile>> {
    const { root, ignore = [], ignoreUnsigned } = this.#options;
    const also = this.#expected.has(ALSO_IGNORED) ? [] : [ALSO_IGNORED];
    const found = await walkModel(root, {
      ignore: [...this.#manifest.serialization.ignorePaths, ...ignore, ...also],
      allowEmpty: true,
      onRefused: (path, what) => {
        this.#refused.add(path);
        if (!ignoreUnsigned || this.#expected.has(path)) this.#add("refused", path, `is ${what}`);
      },
    });
    return new Map(found.map((file) => [file.path, file]));
  }

  /** A list of shards does not name empty files (OMS 1.0, shards), so one more of them cannot be told. */
  #isSigned({ path, bytes }: ModelFile): boolean {
    const untold = this.#manifest.serialization.method === "shards" && bytes === 0;
    return this.#options.ignoreUnsigned === true || untold || this.#expected.has(path);
  }

  #add(rule: VerifyFinding["rule"], path: string, message: string): void {
    if (this.#total++ < SIGNING_LIMITS.findings) this.#findings.push({ rule, path, message });
  }

  async #matches(file: ModelFile, ranges: Expected): Promise<boolean> {
    const end = ranges.at(-1)?.end;
    if (end !== undefined && end !== file.bytes) return false;
    let index = 0;
    let position = 0;
    let current = createHash(this.#hash);
    for await (const chunk of readChunks(modelFilePath(this.#options.root, file.path))) {
      let rest: Uint8Array = chunk;
      while (rest.length > 0) {
        const until = ranges[index]?.end ?? Number.POSITIVE_INFINITY;
        const take = rest.subarray(0, until - position);
        current.update(take);
        position += take.length;
        rest = rest.subarray(take.length);
        if (position !== until) continue;
        if (current.digest("hex") !== ranges[index++]?.digest) return false;
        current = createHash(this.#hash);
      }
      this.#options.progress?.({ step: `verify ${file.path}`, done: position, total: file.bytes, unit: "bytes" });
    }
    if (end === undefined) return current.digest("hex") === ranges[0]?.digest;
    return index === ranges.length && position === end;
  }
}

function expectedOf({ serialization, resources }: VerifiedManifest): Map<string, Expected> {
  if (serialization.method === "shards") return shardsOf(resources) satisfies Map<string, Shard[]>;
  return new Map(resources.map(({ name, digest }) => [name, [{ digest }]]));
}
