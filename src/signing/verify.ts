/** Verifies a model against its signature: every file, and no other. */
import type { FileParts, ModelContent, ModelFile } from "../artifact/index.ts";
import type { Progress } from "../base/index.ts";
import { type Trust, type VerifiedManifest, verifyBundle } from "./bundle.ts";
import { SIGNING_LIMITS } from "./limits.ts";
import { shardsOf } from "./manifest.ts";
import { contentOf } from "./sign.ts";

export interface VerifyOptions {
  /** A folder or a single file of this machine, or content that lies elsewhere. */
  readonly root: string | ModelContent;
  readonly bundle: Uint8Array;
  readonly trust: Trust;
  /** Left out besides what the signature says; at least the signature file's own path. */
  readonly ignore?: readonly string[];
  /** Files that the signature does not list are then no finding. */
  readonly ignoreUnsigned?: boolean;
  /** Links inside the model count as what they lead to; whatever the signature says, a link is a finding when absent. */
  readonly allowSymlinks?: boolean;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
  readonly threads?: number;
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

/** Throws like `verifyBundle`, and BLAKE3_MISSING; what is wrong with files is in the report, all of it. */
export async function verifyModel(options: VerifyOptions): Promise<VerifyReport> {
  return new Verification(options, verifyBundle(options.bundle, options.trust)).run();
}

/** The digests of a file's parts; a whole file has one without an end. */
type Expected = readonly { readonly end?: number; readonly digest: string }[];

class Verification {
  readonly #options: VerifyOptions;
  readonly #manifest: VerifiedManifest;
  readonly #content: ModelContent;
  readonly #expected: ReadonlyMap<string, Expected>;
  readonly #findings: VerifyFinding[] = [];
  readonly #refused = new Set<string>();
  #total = 0;

  constructor(options: VerifyOptions, manifest: VerifiedManifest) {
    this.#options = options;
    this.#manifest = manifest;
    this.#content = contentOf(options.root);
    this.#expected = expectedOf(manifest);
  }

  async run(): Promise<VerifyReport> {
    const found = await this.#walk();
    const changed = await this.#changed(found);
    for (const path of this.#expected.keys()) {
      if (this.#refused.has(path)) continue;
      if (!found.has(path)) this.#add("missing", path, "is signed but not there");
      else if (changed.has(path)) this.#add("mismatch", path, "is not what was signed");
    }
    for (const [path, { bytes }] of found)
      if (!this.#isSigned(path, bytes)) this.#add("unsigned", path, "is there but not signed");
    return {
      verdict: this.#total === 0 ? "verified" : "failed",
      manifest: this.#manifest,
      findings: this.#findings,
      findingsTotal: this.#total,
    };
  }

  async #walk(): Promise<Map<string, ModelFile>> {
    const { ignore = [], ignoreUnsigned, allowSymlinks = false } = this.#options;
    const also = this.#expected.has(ALSO_IGNORED) ? [] : [ALSO_IGNORED];
    const found = await this.#content.walk({
      ignore: [...this.#manifest.serialization.ignorePaths, ...ignore, ...also],
      allowEmpty: true,
      followLinks: allowSymlinks,
      onRefused: (path, what) => {
        this.#refused.add(path);
        if (!ignoreUnsigned || this.#expected.has(path)) this.#add("refused", path, `is ${what}`);
      },
    });
    return new Map(found.map((file) => [this.#signedName(file.path), file]));
  }

  /** A single file is `.` for the reference and has its own name in the specification. */
  #signedName(path: string): string {
    const { name } = this.#content;
    const isNamed = path === "." && this.#expected.size === 1 && this.#expected.has(name);
    return isNamed ? name : path;
  }

  /** A list of shards does not name empty files (OMS 1.0, shards), so one more of them cannot be told. */
  #isSigned(path: string, bytes: number): boolean {
    const untold = this.#manifest.serialization.method === "shards" && bytes === 0;
    return this.#options.ignoreUnsigned === true || untold || this.#expected.has(path);
  }

  #add(rule: VerifyFinding["rule"], path: string, message: string): void {
    if (this.#total++ < SIGNING_LIMITS.findings) this.#findings.push({ rule, path, message });
  }

  /** The paths whose bytes are not those that were signed; what has another length is not read. */
  async #changed(found: ReadonlyMap<string, ModelFile>): Promise<Set<string>> {
    const changed = new Set<string>();
    const paths: string[] = [];
    const parts: FileParts[] = [];
    for (const [path, expected] of this.#expected) {
      const file = found.get(path);
      if (!file) continue;
      const ends = expected.map(({ end = file.bytes }) => end);
      if (ends.at(-1) !== file.bytes) {
        changed.add(path);
        continue;
      }
      parts.push({ file, ends });
      paths.push(path);
    }
    const { progress, signal, threads } = this.#options;
    const digests = await this.#content.digest(parts, {
      hash: this.#manifest.serialization.hashType,
      step: "verify",
      ...(progress ? { progress } : {}),
      ...(signal ? { signal } : {}),
      ...(threads === undefined ? {} : { threads }),
    });
    for (const [index, path] of paths.entries()) {
      const own = digests[index];
      const isSame = own?.length === this.#expected.get(path)?.length;
      if (!isSame || this.#expected.get(path)?.some(({ digest }, at) => digest !== own?.[at])) changed.add(path);
    }
    return changed;
  }
}

function expectedOf({ serialization, resources }: VerifiedManifest): ReadonlyMap<string, Expected> {
  if (serialization.method === "shards") return shardsOf(resources);
  return new Map(resources.map(({ name, digest }) => [name, [{ digest }]]));
}
