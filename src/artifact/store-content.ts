/** A model whose files lie in a blob store as they are: hashed as they stream by, without a copy on this machine. */
import { openHash, PartHasher } from "../host/index.ts";
import type { BlobStore, OpenBlob } from "./blob-store.ts";
import { type DigestOptions, type FileParts, type ModelContent, type PartDigests, tellProgress } from "./content.ts";
import { artifactError } from "./errors.ts";
import { ARTIFACT_LIMITS } from "./limits.ts";
import { compareCodePoints, DEFAULT_IGNORE, type ModelFile, type WalkOptions } from "./walk.ts";

export class StoreContent implements ModelContent {
  readonly name: string;
  readonly #store: BlobStore;
  readonly #prefix: string;

  /** The model's folder in the store, without a slash at its end. */
  constructor(store: BlobStore, folder: string) {
    this.name = folder.slice(folder.lastIndexOf("/") + 1);
    this.#store = store;
    this.#prefix = `${folder}/`;
  }

  async walk(options: WalkOptions = {}): Promise<ModelFile[]> {
    const ignored = new Set<string>([...DEFAULT_IGNORE, ...(options.ignore ?? [])]);
    const found: ModelFile[] = [];
    for await (const name of this.#store.list(this.#prefix)) {
      const path = name.slice(this.#prefix.length);
      if (isIgnored(path, ignored)) continue;
      const stat = await this.#store.stat(name);
      if (stat) found.push({ path, bytes: stat.bytes });
      if (found.length > ARTIFACT_LIMITS.files)
        throw artifactError("MODEL_PATH_INVALID", { detail: `over ${ARTIFACT_LIMITS.files} files` });
    }
    if (found.length === 0 && !options.allowEmpty) throw artifactError("MODEL_EMPTY", { detail: this.#store.uri });
    return found.sort((a, b) => compareCodePoints(a.path, b.path));
  }

  async digest(files: readonly FileParts[], options: DigestOptions): Promise<PartDigests[]> {
    const make = openHash(options.hash);
    const told = tellProgress(files, options);
    const digests: PartDigests[] = [];
    for (const { file, ends } of files) {
      const blob = await this.#store.open(this.#prefix + file.path);
      const parts = new PartHasher(make, 0, ends);
      try {
        const isWhole = blob.bytes === ends.at(-1) && (await hashBlob(blob, parts, told, options.signal));
        digests.push(isWhole ? parts.digests : undefined);
      } finally {
        await blob.close();
      }
    }
    return digests;
  }
}

/** False when the blob ends too early. The next chunk is on its way while the last one is hashed. */
async function hashBlob(
  blob: OpenBlob,
  parts: PartHasher,
  told: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<boolean> {
  const chunk = (start: number) => blob.read(start, Math.min(blob.bytes, start + ARTIFACT_LIMITS.chunkBytes));
  let reading = chunk(0);
  for (let position = 0; position < blob.bytes; ) {
    const bytes = await reading;
    if (bytes.length === 0) return false;
    position += bytes.length;
    if (position < blob.bytes) {
      reading = chunk(position);
      reading.catch(() => undefined);
    }
    signal?.throwIfAborted();
    parts.update(bytes);
    told(bytes.length);
  }
  return true;
}

function isIgnored(path: string, ignored: ReadonlySet<string>): boolean {
  for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1)) {
    if (ignored.has(path.slice(0, end))) return true;
  }
  return false;
}
