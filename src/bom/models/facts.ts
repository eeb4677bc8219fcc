/** Gathers what the files of a model say about it: digests, headers of the weights, configuration, card. */
import { basename, dirname } from "node:path";
import {
  type ByteSource,
  digestFile,
  type FileSource,
  looksLikeGguf,
  looksLikeOnnx,
  looksLikeSafetensors,
  openFileSource,
  readGgufHeader,
  readOnnxHeader,
  readSafetensorsHeader,
} from "../../artifact/index.ts";
import { ModelkeepError, type Progress, parseJson } from "../../base/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { type ModelCardFacts, readModelCard } from "./card.ts";
import { type ChatTemplate, CONFIGURATIONS, codeOf, isTemplateFile, templateOf, templatesOf } from "./code.ts";
import { type DatasetFacts, readCroissant, readDatasetInfos } from "./datasets.ts";
import { type PlacedFile, placeFiles } from "./snapshot.ts";

export interface ModelFileFacts {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** As a manifest states it. */
  readonly mediaType?: string;
  /** Present for weight files whose header could be read or not. */
  readonly weights?: WeightFacts;
}

export interface WeightFacts {
  readonly format: "safetensors" | "gguf" | "onnx";
  readonly valid: boolean;
  readonly tensors: number;
  /** Elements of all tensors. */
  readonly parameters: bigint;
  readonly types: readonly string[];
  /** Short texts and numbers of the metadata, in the file's order. */
  readonly metadata: readonly (readonly [string, string])[];
  /** Chat templates of a GGUF file. */
  readonly templates?: readonly ChatTemplate[];
}

export interface CodeFacts {
  /** Python of the model's own that loading it would run. */
  readonly files: readonly string[];
  /** Other models whose code loading it would fetch and run. */
  readonly repositories: readonly string[];
  readonly templates: readonly ChatTemplate[];
}

export interface ModelFacts {
  readonly files: readonly ModelFileFacts[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly adapter: Readonly<Record<string, unknown>>;
  readonly card: ModelCardFacts;
  readonly code: CodeFacts;
  /** Described by files beside the model. */
  readonly datasets: readonly DatasetFacts[];
  /** What else is known, in order: name and value. */
  readonly properties: readonly (readonly [string, string])[];
}

export interface GatherOptions {
  readonly root: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/** Fails as walkModel does, and with BOM_STOPPED. What stands in the files never fails. */
export async function gatherModelFacts(options: GatherOptions): Promise<ModelFacts> {
  const found = await placeFiles(options.root);
  const total = found.reduce((sum, file) => sum + file.bytes, 0);
  const files: ModelFileFacts[] = [];
  let done = 0;
  for (const { path, bytes, place } of found) {
    if (options.signal?.aborted) throw bomError("BOM_STOPPED");
    const sha256 = await digestFile(dirname(place), basename(place));
    const weights = await withSource(place, (source) => readWeights(path, source));
    files.push({ path, bytes, sha256, ...(weights ? { weights } : {}) });
    done += bytes;
    options.progress?.({ step: "inventory", done, total, unit: "bytes" });
  }
  return { files, ...(await readTexts(found, files)), properties: [] };
}

async function readTexts(
  found: readonly PlacedFile[],
  files: readonly ModelFileFacts[],
): Promise<Omit<ModelFacts, "files" | "properties">> {
  const places = new Map(found.map(({ path, place }) => [path, place]));
  const text = async (path: string, maxBytes: number = BOM_LIMITS.configBytes) => {
    const place = places.get(path);
    return place === undefined ? "" : withSource(place, (source) => readSmallText(source, maxBytes));
  };
  const configurations = new Map<string, Readonly<Record<string, unknown>>>();
  for (const name of CONFIGURATIONS) configurations.set(name, parseConfig(await text(name)));
  const templates = [...configurations].flatMap(([name, value]) => templatesOf(value, name));
  templates.push(...templatesOf(parseConfig(await text("chat_template.json")), "chat_template.json"));
  for (const path of [...places.keys()].filter(isTemplateFile)) templates.push(templateOf(await text(path), path));
  for (const { path, weights } of files) {
    for (const { place, sha256 } of weights?.templates ?? []) templates.push({ place: `${path}#${place}`, sha256 });
  }
  return {
    config: configurations.get("config.json") ?? {},
    adapter: configurations.get("adapter_config.json") ?? {},
    card: readModelCard(await text("README.md", BOM_LIMITS.readmeBytes)),
    code: { ...codeOf([...configurations.values()]), templates },
    datasets: await readDescriptions(places, text),
  };
}

const CROISSANT = /(?:^|[./_-])croissant[^/]*\.json$|(?:^|\/)metadata\.json$/;

async function readDescriptions(
  places: ReadonlyMap<string, string>,
  text: (path: string) => Promise<string>,
): Promise<DatasetFacts[]> {
  const datasets: DatasetFacts[] = [];
  for (const path of places.keys()) {
    if (datasets.length >= BOM_LIMITS.frontMatterItems) break;
    const croissant = CROISSANT.test(path) ? readCroissant(await text(path)) : undefined;
    if (croissant) datasets.push(croissant);
    if (basename(path) === "dataset_infos.json") datasets.push(...readDatasetInfos(await text(path)));
  }
  return datasets;
}

async function withSource<T>(place: string, read: (source: FileSource) => T): Promise<T> {
  const source = await openFileSource(place);
  try {
    return read(source);
  } finally {
    source.close();
  }
}

function readSmallText(source: FileSource, maxBytes: number): string {
  return source.bytes > maxBytes ? "" : Buffer.from(source.read(0, source.bytes)).toString("utf8");
}

function parseConfig(text: string): Readonly<Record<string, unknown>> {
  if (text === "") return {};
  try {
    const value = parseJson(text, { maxBytes: BOM_LIMITS.configBytes });
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : {};
  } catch (error) {
    if (error instanceof ModelkeepError) return {};
    throw error;
  }
}

/** Undefined for what is no weight file. */
export function readWeights(name: string, source: ByteSource): WeightFacts | undefined {
  const format = formatOf(name, source);
  if (!format) return undefined;
  try {
    return READERS[format](source);
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
    return { format, valid: false, tensors: 0, parameters: 0n, types: [], metadata: [] };
  }
}

const READERS = { gguf: factsOfGguf, safetensors: factsOfSafetensors, onnx: factsOfOnnx } as const;

function formatOf(name: string, source: ByteSource): WeightFacts["format"] | undefined {
  if (looksLikeGguf(source)) return "gguf";
  if (looksLikeSafetensors(source)) return "safetensors";
  return looksLikeOnnx(name, source) ? "onnx" : undefined;
}

function factsOfOnnx(source: ByteSource): WeightFacts {
  const header = readOnnxHeader(source);
  const metadata: (readonly [string, string])[] = [
    ["ir_version", String(header.irVersion)],
    ["producer", `${header.producer} ${header.producerVersion}`.trim()],
    ["domain", header.domain],
    ["model_version", String(header.modelVersion)],
    ["graph", header.graph],
    ...header.operators.map(([domain, version]) => ["opset", `${domain || "ai.onnx"} ${version}`] as const),
    ...header.metadata,
  ];
  const types = [...new Set(header.tensors.map(({ type }) => type))].sort();
  return {
    ...describe("onnx", header.tensors),
    types,
    metadata: metadata.filter(([, value]) => value).filter(isShort),
  };
}

function factsOfSafetensors(source: ByteSource): WeightFacts {
  const { tensors, metadata } = readSafetensorsHeader(source);
  const types = [...new Set(tensors.map(({ dtype }) => dtype))].sort();
  return { ...describe("safetensors", tensors), types, metadata: Object.entries(metadata).filter(isShort) };
}

function factsOfGguf(source: ByteSource): WeightFacts {
  const { tensors, metadata } = readGgufHeader(source);
  const general = [...metadata].flatMap(([key, value]): [string, string][] =>
    key.startsWith("general.") && typeof value !== "object" ? [[key, String(value)]] : [],
  );
  const types = [...new Set(tensors.map(({ type }) => type))].sort();
  const templates = [...metadata].flatMap(([key, value]) =>
    /^tokenizer\.chat_template(?:\.|$)/.test(key) && typeof value === "string" ? [templateOf(value, key)] : [],
  );
  return { ...describe("gguf", tensors), types, metadata: general.filter(isShort), templates };
}

function describe(format: WeightFacts["format"], tensors: readonly { readonly shape: readonly number[] }[]) {
  const elements = tensors.map(({ shape }) => shape.reduce((product, size) => product * BigInt(size), 1n));
  return { format, valid: true, tensors: tensors.length, parameters: elements.reduce((sum, count) => sum + count, 0n) };
}

function isShort([key, value]: readonly [string, string]): boolean {
  return key.length + value.length <= BOM_LIMITS.textCharacters;
}
