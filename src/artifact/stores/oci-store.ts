/** A blob store under one tag of an OCI registry: a layer for each name, and manifests that refer to them. */
import { createHash } from "node:crypto";
import { BlobUpload, digestOf, type Registry, storeError } from "../../backends/index.ts";
import type { BlobChunks, BlobStat, BlobStore, WriteOptions, WrittenBlob } from "../blob-store.ts";
import { ARTIFACT_LIMITS } from "../limits.ts";
import { compareCodePoints } from "../walk.ts";
import { checkBlobName } from "./blob-name.ts";
import { changeIndex, loadIndex, type OciIndex } from "./oci-index.ts";
import type { OciBlob } from "./oci-manifest.ts";
import { type Part, partBytesFor, partsOf } from "./parts.ts";
import { type PinnedBlob, PinnedReads } from "./pinned-reads.ts";

export class OciStore extends PinnedReads implements BlobStore {
  override readonly uri: string;
  readonly #registry: Registry;
  readonly #changes = new Map<string, OciBlob | null>();
  #index: Promise<OciIndex> | undefined;
  #loadedAt = 0;
  /** The commits, one after the other, and the next one, which takes further changes with it. */
  #queue: Promise<void> = Promise.resolve();
  #joining: Promise<void> | undefined;

  constructor(registry: Registry) {
    super();
    this.uri = registry.place.uri;
    this.#registry = registry;
  }

  async stat(name: string): Promise<BlobStat | undefined> {
    const blob = await this.#find(checkBlobName(name));
    return blob && { bytes: blob.bytes, tag: blob.digest, sha256: blob.digest.slice("sha256:".length) };
  }

  protected override async pin(name: string): Promise<PinnedBlob | undefined> {
    const blob = await this.#find(checkBlobName(name));
    return blob && { bytes: blob.bytes, fill: (range, buffer) => this.#fill(name, blob, range, buffer) };
  }

  /** A registry has no condition on a tag: `absent` is looked at, and another writer may still be faster. */
  async write(name: string, chunks: BlobChunks, options: WriteOptions = {}): Promise<WrittenBlob> {
    checkBlobName(name);
    if (this.#registry.place.reference.includes(":"))
      throw storeError("STORE_REFUSED", { detail: `${this.uri} is a digest: name a tag to write to` });
    if (options.absent && (await this.#find(name, true))) throw storeError("BLOB_EXISTS", { detail: name });
    if (options.unchanged !== undefined && (await this.#find(name, true))?.digest !== options.unchanged)
      throw storeError("BLOB_EXISTS", { detail: name });
    const blob = await this.#upload(chunks, options);
    const { modelPath } = options;
    await this.#change(name, modelPath === undefined ? blob : { ...blob, modelPath });
    return { bytes: blob.bytes, confirmed: true };
  }

  /**
   * A layer is no longer named; its bytes stay until the registry collects what nobody names. What refers to the model,
   * such as its wrapped keys, must be gone: STORE_DENIED when the registry still has it.
   */
  async delete(name: string): Promise<boolean> {
    const blob = await this.#find(checkBlobName(name), true);
    if (!blob) return false;
    const referrer = (await this.#current()).referrers.get(name);
    await this.#change(name, null);
    if (!referrer) return true;
    await this.#registry.remove("manifests", referrer.manifest);
    await this.#registry.remove("blobs", blob.digest);
    if (await this.#registry.hasBlob(blob.digest))
      throw storeError("STORE_DENIED", {
        detail: `${name} is no longer named, but the registry keeps its bytes`,
        hint: `delete them with the registry's own tool: ${blob.digest}`,
      });
    return true;
  }

  async *list(prefix: string): AsyncGenerator<string> {
    const { layers, referrers } = await this.#current();
    const names = [...layers.keys(), ...referrers.keys()].filter((name) => name.startsWith(prefix));
    yield* names.sort(compareCodePoints);
  }

  /** Registries give up unfinished uploads by themselves, and name nobody who could be asked for them. */
  async discardUnfinished(): Promise<void> {}

  async #find(name: string, fresh = false): Promise<OciBlob | undefined> {
    const { layers, referrers } = await this.#current(fresh);
    return referrers.get(name) ?? layers.get(name);
  }

  /** What others wrote is seen after `ociIndexMilliseconds`; what was written here at once. */
  #current(fresh = false): Promise<OciIndex> {
    const now = this.#registry.ports.clock.monotonic();
    const isOld = now - this.#loadedAt > ARTIFACT_LIMITS.ociIndexMilliseconds;
    if (this.#index && !isOld && !fresh) return this.#index;
    const loading = loadIndex(this.#registry);
    loading.catch(() => {
      if (this.#index === loading) this.#index = undefined;
    });
    this.#loadedAt = now;
    this.#index = loading;
    return loading;
  }

  /** What is read whole is held against its digest. */
  async #fill(name: string, blob: OciBlob, range: { readonly start: number; readonly end: number }, into: Uint8Array) {
    const read = await this.#registry.readBlob(blob.digest, range, into);
    if (read === blob.bytes && digestOf(into) !== blob.digest)
      throw storeError("BLOB_DAMAGED", { detail: `${name} is not what its digest says` });
    return read;
  }

  async #upload(chunks: BlobChunks, options: WriteOptions): Promise<OciBlob> {
    const parts = partsOf(chunks, partBytesFor(options.bytes, this.#registry.ports.limits));
    return this.#uploadParts(parts).finally(() => parts.return());
  }

  async #uploadParts(parts: AsyncGenerator<Part, void>): Promise<OciBlob> {
    const first = await parts.next();
    const small = first.done ? new Uint8Array(0) : first.value.bytes;
    if (first.done || first.value.isLast) return { digest: await this.#registry.putBlob(small), bytes: small.length };
    const upload = await BlobUpload.begin(this.#registry);
    const hash = createHash("sha256").update(small);
    let bytes = small.length;
    try {
      await upload.send(small);
      for await (const part of parts) {
        hash.update(part.bytes);
        bytes += part.bytes.length;
        await upload.send(part.bytes);
      }
      const digest = `sha256:${hash.digest("hex")}`;
      await upload.finish(new Uint8Array(0), digest);
      return { digest, bytes };
    } catch (error) {
      await upload.abort();
      throw error;
    }
  }

  /** Changes that come while one commit is under way go together with the next one. */
  #change(name: string, blob: OciBlob | null): Promise<void> {
    this.#changes.set(name, blob);
    this.#joining ??= this.#enqueue();
    return this.#joining;
  }

  #enqueue(): Promise<void> {
    const commit = this.#queue.then(() => {
      this.#joining = undefined;
      return this.#commit();
    });
    this.#queue = commit.catch(() => undefined);
    return commit;
  }

  async #commit(): Promise<void> {
    const changes = new Map(this.#changes);
    this.#changes.clear();
    const after = await changeIndex(this.#registry, await loadIndex(this.#registry), changes);
    this.#index = Promise.resolve(after);
    this.#loadedAt = this.#registry.ports.clock.monotonic();
  }
}
