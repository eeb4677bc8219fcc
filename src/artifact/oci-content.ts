/** An OCI image manifest in the place of a model: its layers are the files, under their titles, with the digests it names. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { baseError, parseJson } from "../base/index.ts";
import { type DigestOptions, type FileParts, type ModelContent, type PartDigests, tellProgress } from "./content.ts";
import { artifactError } from "./errors.ts";
import { ARTIFACT_LIMITS } from "./limits.ts";
import { checkModelPath, compareCodePoints, DEFAULT_IGNORE, type ModelFile, type WalkOptions } from "./walk.ts";

const TITLE = "org.opencontainers.image.title";

const EMPTY = createHash("sha256").digest("hex");

const manifest = z.object({
  schemaVersion: z.literal(2),
  layers: z
    .array(
      z.object({
        digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
        size: z.number().int().nonnegative(),
        annotations: z.object({ [TITLE]: z.string().min(1) }),
      }),
    )
    .min(1)
    .max(ARTIFACT_LIMITS.ociLayers),
});

/** No layer is read: who pulls one compares its digest with the manifest, as OCI has it. */
export class OciContent implements ModelContent {
  readonly name: string;
  readonly #digests = new Map<string, string>();
  readonly #files: readonly ModelFile[];

  /** Throws OCI_MANIFEST_INVALID, MODEL_PATH_INVALID. */
  constructor(json: Uint8Array, name: string) {
    this.name = name;
    const parsed = manifest.safeParse(parseJson(json, { maxBytes: ARTIFACT_LIMITS.ociManifestBytes, what: name }));
    if (!parsed.success)
      throw artifactError("OCI_MANIFEST_INVALID", { detail: parsed.error.issues[0]?.path.join(".") ?? "" });
    this.#files = parsed.data.layers.map(({ digest, size, annotations }) => {
      const path = checkModelPath(annotations[TITLE]);
      if (this.#digests.has(path)) throw artifactError("OCI_MANIFEST_INVALID", { detail: `two layers are ${path}` });
      this.#digests.set(path, digest.slice("sha256:".length));
      // A list of shards passes over empty files: a file may not become one by the manifest's word alone.
      if (size === 0 && this.#digests.get(path) !== EMPTY)
        throw artifactError("OCI_MANIFEST_INVALID", { detail: `${path} has no bytes and the digest of some` });
      return { path, bytes: size };
    });
  }

  async walk(options: WalkOptions = {}): Promise<ModelFile[]> {
    const ignored = [...DEFAULT_IGNORE, ...(options.ignore ?? [])];
    const isIgnored = (path: string) => ignored.some((one) => path === one || path.startsWith(`${one}/`));
    const found = this.#files.filter(({ path }) => !isIgnored(path));
    if (found.length === 0 && !options.allowEmpty) throw artifactError("MODEL_EMPTY", { detail: this.name });
    return found.sort((a, b) => compareCodePoints(a.path, b.path));
  }

  async digest(files: readonly FileParts[], options: DigestOptions): Promise<PartDigests[]> {
    if (options.hash !== "sha256" || files.some(({ ends }) => ends.length !== 1))
      throw baseError("INVALID_INPUT", { detail: "an OCI manifest names whole layers by SHA-256" });
    const told = tellProgress(files, options);
    return files.map(({ file }) => {
      told(file.bytes);
      const digest = this.#digests.get(file.path);
      return digest === undefined ? undefined : [digest];
    });
  }
}
