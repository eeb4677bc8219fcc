/** Reads a container image: which layers it has, and what is installed in them. */
import { bomError } from "../errors.ts";
import { type InstalledTree, isInteresting } from "../installed/tree.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, textOf, textsOf, type Unknown } from "../plain.ts";
import { type ImageArchive, openImageArchive, readImageJson, readImageValue, readLayer } from "./archive.ts";
import { LayeredFiles } from "./layered-files.ts";
import { readTarStream } from "./tar-stream.ts";

export interface ImageOptions {
  /** A folder in the OCI layout, an archive of one or of `docker save`, or `oci://HOST/REPOSITORY:TAG`. */
  readonly path: string;
  /** `linux/arm64`; without it amd64, or the only one there is. */
  readonly platform?: string;
  /** Where a registry's credentials and settings are looked up; nothing when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal;
}

export interface Image {
  /** As the archive names it, else empty. */
  readonly reference: string;
  /** SHA-256 of the manifest, hex; undefined for `docker save`, which has none. */
  readonly digest: string | undefined;
  readonly platform: string;
  readonly layers: readonly string[];
  readonly tree: InstalledTree;
}

interface Parts {
  readonly reference: string;
  readonly digest: string | undefined;
  readonly config: Unknown;
  /** Paths in the archive. */
  readonly layers: readonly string[];
}

/** Fails with IMAGE_INVALID, LIMIT_EXCEEDED or BOM_STOPPED. No layer is unpacked to the disk. */
export async function readImage(options: ImageOptions): Promise<Image> {
  const archive = options.path.startsWith("oci://")
    ? await openRegistryImage(options)
    : await openImageArchive(options.path, options.signal);
  try {
    const parts = await partsOf(archive, options.platform);
    if (parts.layers.length > BOM_LIMITS.imageLayers) throw invalid(`over ${BOM_LIMITS.imageLayers} layers`);
    const { architecture, os, rootfs } = parts.config;
    const diffIds = textsOf(asObject(rootfs)?.diff_ids).map((id) => id.replace(/^sha256:/, ""));
    const tree = await readLayers(archive, parts.layers, diffIds, options.signal);
    const platform = `${textOf(os) ?? "linux"}/${textOf(architecture) ?? "unknown"}`.slice(0, 100);
    return { reference: parts.reference, digest: parts.digest, platform, layers: diffIds, tree };
  } finally {
    archive.close();
  }
}

/** What speaks to registries is loaded for them alone. */
async function openRegistryImage({ path, env, signal }: ImageOptions): Promise<ImageArchive> {
  const { openRegistryArchive } = await import("./registry-archive.ts");
  return openRegistryArchive(path, env ?? {}, signal);
}

/** True for what readImage reads, by a glance. */
export async function looksLikeImage(path: string, isFolder: boolean): Promise<boolean> {
  if (path.startsWith("oci://")) return true;
  if (!isFolder) return /\.(?:tar|oci|tgz|tar\.gz|tar\.zst)$/.test(path);
  const archive = await openImageArchive(path);
  return (await archive.has("oci-layout")) && (await archive.has("index.json"));
}

/** Again from the lowest layer while links lead to files whose content was passed over. */
async function readLayers(
  archive: ImageArchive,
  layers: readonly string[],
  diffIds: readonly string[],
  signal?: AbortSignal,
) {
  const wanted = new Set<string>();
  let left: number = BOM_LIMITS.imageUnpackedBytes;
  for (let round = 1; ; round++) {
    const found = new LayeredFiles(wanted);
    for (const [index, path] of layers.entries()) {
      if (signal?.aborted) throw bomError("BOM_STOPPED");
      const limits = { left, diffId: diffIds[index] };
      found.beginLayer();
      await readTarStream(readLayer(archive, path, limits), (entry) => found.add(entry));
      left = limits.left;
    }
    const tree = found.tree();
    const missing = [...found.missing].filter((path) => !wanted.has(path) && !isInteresting(path));
    if (missing.length === 0 || round >= BOM_LIMITS.imageRounds) return tree;
    for (const path of missing) wanted.add(path);
  }
}

async function partsOf(archive: ImageArchive, platform: string | undefined): Promise<Parts> {
  if (await archive.has("index.json")) return partsOfLayout(archive, platform);
  if (await archive.has("manifest.json")) return partsOfDocker(archive);
  throw invalid("there is neither index.json nor manifest.json");
}

/** `docker save`: a list of images, of which the first is taken. */
async function partsOfDocker(archive: ImageArchive): Promise<Parts> {
  const [first] = listOf(await readImageValue(archive, "manifest.json"));
  const image = asObject(first) ?? {};
  const config = textOf(image.Config);
  if (config === undefined) throw invalid("manifest.json names no configuration");
  const reference = textsOf(image.RepoTags)[0] ?? "";
  return { reference, digest: undefined, config: await readImageJson(archive, config), layers: textsOf(image.Layers) };
}

const MAX_INDEXES = 8;

/** An index may lead to others, one per platform; attestations beside the images are passed over. */
async function partsOfLayout(archive: ImageArchive, platform: string | undefined): Promise<Parts> {
  let document = await readImageJson(archive, "index.json");
  let descriptor: Unknown = {};
  let reference = "";
  for (let steps = 0; document.manifests !== undefined; steps++) {
    if (steps >= MAX_INDEXES) throw invalid("indexes lead to indexes");
    descriptor = choose(document.manifests, platform);
    reference ||= textOf(asObject(descriptor.annotations)?.["org.opencontainers.image.ref.name"]) ?? "";
    document = await readImageJson(archive, blobPath(descriptor));
  }
  const config = await readImageJson(archive, blobPath(asObject(document.config) ?? {}));
  const layers = listOf(document.layers).map((layer) => blobPath(asObject(layer) ?? {}));
  return { reference, digest: textOf(descriptor.digest)?.replace(/^sha256:/, ""), config, layers };
}

function choose(manifests: unknown, platform: string | undefined): Unknown {
  const all = listOf(manifests).flatMap((item): Unknown[] => [asObject(item) ?? {}]);
  const images = all.filter(({ annotations }) => asObject(annotations)?.["vnd.docker.reference.type"] === undefined);
  const named = (item: Unknown) => {
    const { os, architecture } = asObject(item.platform) ?? {};
    return `${textOf(os) ?? ""}/${textOf(architecture) ?? ""}`;
  };
  const wanted = platform ?? "linux/amd64";
  const found =
    images.find((item) => named(item) === wanted) ??
    (platform === undefined || images.length === 1 ? images[0] : undefined);
  if (!found) throw invalid(`there is no image of ${wanted}`);
  return found;
}

/** Digests of other algorithms are not read. */
function blobPath(descriptor: Unknown): string {
  const digest = /^sha256:([0-9a-f]{64})$/.exec(textOf(descriptor.digest) ?? "")?.[1];
  if (digest === undefined) throw invalid("a descriptor has no SHA-256 digest");
  return `blobs/sha256/${digest}`;
}

function invalid(detail: string) {
  return bomError("IMAGE_INVALID", { detail });
}
