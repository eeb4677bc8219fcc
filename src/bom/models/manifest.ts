/** Models that a manifest names: Ollama's own, and ModelPack in an OCI layout (CNCF model-spec). */
import { basename, dirname, join, resolve, sep } from "node:path";
import { digestFile, type FileSource, openFileSource } from "../../artifact/index.ts";
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { files, readFileBounded } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, textOf, textsOf, type Unknown } from "../plain.ts";
import { readModelCard } from "./card.ts";
import { type ChatTemplate, templateOf } from "./code.ts";
import { type ModelFacts, type ModelFileFacts, readWeights } from "./facts.ts";

export interface ManifestModel {
  readonly name: string;
  readonly version: string;
  readonly facts: ModelFacts;
}

interface Place {
  readonly manifest: Unknown;
  readonly blob: (digest: string) => string;
  readonly name: string;
  readonly version: string;
}

/** Undefined when the path is something else. Fails with MANIFEST_INVALID when a blob is not what the manifest says. */
export async function readManifestModel(path: string): Promise<ManifestModel | undefined> {
  const place = (await placeOfOllama(path)) ?? (await placeOfPack(path));
  if (!place) return undefined;
  const layers = listOf(place.manifest.layers).slice(0, BOM_LIMITS.imageLayers);
  const found: ModelFileFacts[] = [];
  for (const layer of layers) found.push(await readLayer(place, asObject(layer) ?? {}));
  const description = await readSmall(place, asObject(place.manifest.config) ?? {});
  const templates: ChatTemplate[] = [];
  let license: string | undefined;
  for (const layer of layers.flatMap((item) => asObject(item) ?? [])) {
    const kind = String((layer as Unknown).mediaType);
    if (kind === "application/vnd.ollama.image.template")
      templates.push(templateOf(await readText(place, layer as Unknown), "template"));
    if (kind === "application/vnd.ollama.image.license")
      license ??= (await readText(place, layer as Unknown)).trim().split("\n", 1)[0]?.slice(0, 200);
  }
  const facts = factsOf(description, found, templates, license);
  const said = asObject(description.descriptor) ?? {};
  return { name: textOf(said.name) ?? place.name, version: textOf(said.version) ?? place.version, facts };
}

/** `…/models/manifests/HOST/NAMESPACE/NAME/TAG`, with the blobs in `…/models/blobs/sha256-HEX`. */
async function placeOfOllama(path: string): Promise<Place | undefined> {
  const [, home, repository, tag] =
    /^(.*)\/manifests\/[^/]+\/(.+)\/([^/]+)$/.exec(resolve(path).split(sep).join("/")) ?? [];
  if (home === undefined || repository === undefined || tag === undefined) return undefined;
  const manifest = await readObject(path);
  const isOllama = listOf(manifest?.layers).some((layer) =>
    String(asObject(layer)?.mediaType).startsWith("application/vnd.ollama.image."),
  );
  if (!manifest || !isOllama) return undefined;
  return {
    manifest,
    blob: (digest) => join(home, "blobs", `sha256-${digest}`),
    name: repository.replace(/^library\//, ""),
    version: tag,
  };
}

const PACK = "application/vnd.cncf.model.manifest.v1+json";

async function placeOfPack(path: string): Promise<Place | undefined> {
  const index = await readObject(join(path, "index.json"));
  const [descriptor] = listOf(index?.manifests);
  const digest = digestOf(asObject(descriptor) ?? {});
  if (digest === undefined) return undefined;
  const blob = (hex: string) => join(path, "blobs", "sha256", hex);
  const manifest = await readObject(blob(digest));
  if (manifest?.artifactType !== PACK) return undefined;
  const version =
    textOf(asObject(asObject(descriptor)?.annotations)?.["org.opencontainers.image.ref.name"]) ?? digest.slice(0, 12);
  return { manifest, blob, name: basename(resolve(path)), version };
}

async function readObject(path: string): Promise<Unknown | undefined> {
  const stat = await files.stat(path).catch(() => undefined);
  if (!stat?.isFile() || stat.size > BOM_LIMITS.imageManifestBytes) return undefined;
  try {
    return asObject(
      parseJson(await readFileBounded(path, BOM_LIMITS.imageManifestBytes), {
        maxDepth: 32,
        maxBytes: BOM_LIMITS.imageManifestBytes,
      }),
    );
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}

function digestOf(descriptor: Unknown): string | undefined {
  return /^sha256:([0-9a-f]{64})$/.exec(textOf(descriptor.digest) ?? "")?.[1];
}

async function readLayer(place: Place, layer: Unknown): Promise<ModelFileFacts> {
  const digest = digestOf(layer);
  if (digest === undefined) throw bomError("MANIFEST_INVALID", { detail: "a layer has no SHA-256 digest" });
  const path = place.blob(digest);
  const kind = textOf(layer.mediaType) ?? "unknown";
  const named =
    textOf(asObject(layer.annotations)?.["org.cncf.model.filepath"]) ??
    textOf(asObject(layer.annotations)?.["org.opencontainers.image.title"]);
  const sha256 = await digestFile(dirname(path), basename(path));
  if (sha256 !== digest) throw bomError("MANIFEST_INVALID", { detail: `${path} is not what its digest says` });
  const source = await openFileSource(path);
  try {
    const name = (named ?? `${kind.split(".").at(-1)}-${digest.slice(0, 12)}`).slice(0, BOM_LIMITS.textCharacters);
    const weights = readWeights(name, source);
    return { path: name, bytes: source.bytes, sha256, mediaType: kind.slice(0, 200), ...(weights ? { weights } : {}) };
  } finally {
    source.close();
  }
}

async function readSmall(place: Place, descriptor: Unknown): Promise<Unknown> {
  const digest = digestOf(descriptor);
  return digest === undefined ? {} : ((await readObject(place.blob(digest))) ?? {});
}

async function readText(place: Place, layer: Unknown): Promise<string> {
  const source: FileSource = await openFileSource(place.blob(digestOf(layer) ?? ""));
  try {
    return Buffer.from(source.read(0, Math.min(source.bytes, BOM_LIMITS.configBytes))).toString("utf8");
  } finally {
    source.close();
  }
}

/** ModelPack: `descriptor` and `config`; Ollama: `model_family`, `model_type`, `file_type`. */
function factsOf(
  said: Unknown,
  found: readonly ModelFileFacts[],
  templates: readonly ChatTemplate[],
  license: string | undefined,
): ModelFacts {
  const [descriptor, config] = [asObject(said.descriptor) ?? {}, asObject(said.config) ?? {}];
  const family = textOf(descriptor.family) ?? textOf(said.model_family);
  const stated = textsOf(descriptor.licenses)[0] ?? license;
  const rows = { ...config, file_type: said.file_type, model_type: undefined, size: said.model_type };
  const properties = Object.entries(rows).flatMap(([key, value]) =>
    typeof value === "string" && value !== "" ? [[`manifest:${key}`, value.slice(0, 200)] as const] : [],
  );
  const card = readModelCard("");
  const about = textOf(descriptor.title) ?? textOf(descriptor.description);
  return {
    files: found,
    config: { ...(family === undefined ? {} : { model_type: family }) },
    adapter: {},
    card: {
      ...card,
      ...(stated === undefined ? {} : { license: stated }),
      ...(about === undefined ? {} : { description: about }),
    },
    code: {
      files: [],
      repositories: [],
      templates: [...templates, ...found.flatMap(({ weights }) => weights?.templates ?? [])],
    },
    datasets: [],
    properties,
  };
}
