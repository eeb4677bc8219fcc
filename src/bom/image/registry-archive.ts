/** The parts of an image in a registry, as if they lay in an OCI layout: fetched when they are read, never kept on the disk. */
import { digestOf, OCI_INDEX, OCI_MANIFEST, openRegistry, type Registry } from "../../backends/index.ts";
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, textOf } from "../plain.ts";
import type { ImageArchive } from "./archive.ts";

/** Docker's own names of the same formats come first in older registries. */
const ACCEPT = [
  OCI_INDEX,
  OCI_MANIFEST,
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

const CHUNK_BYTES = 4 * 1024 * 1024;

/** `oci://HOST/REPOSITORY:TAG`. Fails as the registry does: STORE_URI_INVALID, STORE_UNREACHABLE and its kin. */
export async function openRegistryArchive(
  uri: string,
  env: Readonly<Record<string, string | undefined>>,
  signal?: AbortSignal,
): Promise<ImageArchive> {
  return new RegistryArchive(await openRegistry(uri, { env, ...(signal ? { signal } : {}) }));
}

class RegistryArchive implements ImageArchive {
  readonly #registry: Registry;
  /** By digest, as the documents above them say. */
  readonly #sizes = new Map<string, number>();
  readonly #manifests = new Set<string>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  async has(path: string): Promise<boolean> {
    return path === "index.json";
  }

  async bytes(path: string, maxBytes: number): Promise<Uint8Array> {
    if (path === "index.json") return this.#index();
    const digest = digestOfPath(path);
    if (this.#manifests.has(digest)) return this.#manifest(digest);
    const bytes = this.#sizeOf(digest);
    if (bytes > maxBytes) throw invalid(`${digest} is over ${maxBytes} bytes`);
    return this.#read(digest, 0, bytes);
  }

  async *stream(path: string): AsyncGenerator<Uint8Array> {
    const digest = digestOfPath(path);
    const bytes = this.#sizeOf(digest);
    for (let at = 0; at < bytes; at += CHUNK_BYTES)
      yield await this.#read(digest, at, Math.min(bytes, at + CHUNK_BYTES));
  }

  close(): void {}

  /** What the tag names is an index already, or the only manifest of one. */
  async #index(): Promise<Uint8Array> {
    const { reference } = this.#registry.place;
    const bytes = await this.#manifest(reference);
    if (asObject(this.#parse(bytes))?.manifests !== undefined) return bytes;
    const digest = digestOf(bytes);
    this.#manifests.add(digest);
    return Buffer.from(JSON.stringify({ manifests: [{ digest, size: bytes.length }] }));
  }

  async #manifest(reference: string): Promise<Uint8Array> {
    const found = await this.#registry.manifest(reference, ACCEPT);
    if (!found) throw invalid(`${this.#registry.place.uri} has no ${reference}`);
    const document = asObject(this.#parse(found.bytes)) ?? {};
    for (const item of listOf(document.manifests)) this.#manifests.add(textOf(asObject(item)?.digest) ?? "");
    for (const item of [document.config, ...listOf(document.layers)]) {
      const { digest, size } = asObject(item) ?? {};
      if (typeof digest === "string" && typeof size === "number" && Number.isSafeInteger(size) && size >= 0)
        this.#sizes.set(digest, size);
    }
    return found.bytes;
  }

  #parse(bytes: Uint8Array): unknown {
    try {
      return parseJson(bytes, { maxBytes: BOM_LIMITS.imageManifestBytes, maxDepth: BOM_LIMITS.lockfileDepth });
    } catch (error) {
      if (error instanceof ModelkeepError) throw invalid(error.message);
      throw error;
    }
  }

  #sizeOf(digest: string): number {
    const bytes = this.#sizes.get(digest);
    if (bytes === undefined) throw invalid(`nothing says how long ${digest} is`);
    return bytes;
  }

  async #read(digest: string, start: number, end: number): Promise<Uint8Array> {
    const into = new Uint8Array(end - start);
    if (into.length === 0) return into;
    const count = await this.#registry.readBlob(digest, { start, end }, into);
    if (count !== into.length) throw invalid(`${digest} is missing, or shorter than its manifest says`);
    return into;
  }
}

function digestOfPath(path: string): string {
  return path.replace(/^blobs\/sha256\//, "sha256:");
}

function invalid(detail: string) {
  return bomError("IMAGE_INVALID", { detail });
}
