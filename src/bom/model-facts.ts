/** Gathers what the files of a model say about it: digests, headers of the weights, configuration, card. */
import { basename } from "node:path";
import {
  digestFile,
  type FileSource,
  looksLikeGguf,
  looksLikeSafetensors,
  modelFilePath,
  openFileSource,
  readGgufHeader,
  readSafetensorsHeader,
  walkModel,
} from "../artifact/index.ts";
import { ModelkeepError, type Progress, parseJson } from "../base/index.ts";
import { bomError } from "./errors.ts";
import { BOM_LIMITS } from "./limits.ts";
import { type ModelCardFacts, readModelCard } from "./model-card.ts";

export interface ModelFileFacts {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Present for weight files whose header could be read or not. */
  readonly weights?: WeightFacts;
}

export interface WeightFacts {
  readonly format: "safetensors" | "gguf";
  readonly valid: boolean;
  readonly tensors: number;
  /** Elements of all tensors. */
  readonly parameters: bigint;
  readonly types: readonly string[];
  /** Short texts and numbers of the metadata, in the file's order. */
  readonly metadata: readonly (readonly [string, string])[];
}

export interface ModelFacts {
  readonly files: readonly ModelFileFacts[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly adapter: Readonly<Record<string, unknown>>;
  readonly card: ModelCardFacts;
}

export interface GatherOptions {
  readonly root: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/** Fails as walkModel does, and with BOM_STOPPED. What stands in the files never fails. */
export async function gatherModelFacts(options: GatherOptions): Promise<ModelFacts> {
  const found = await walkModel(options.root);
  const total = found.reduce((sum, file) => sum + file.bytes, 0);
  const files: ModelFileFacts[] = [];
  let done = 0;
  for (const { path, bytes } of found) {
    if (options.signal?.aborted) throw bomError("BOM_STOPPED");
    const sha256 = await digestFile(options.root, path);
    const weights = await withSource(options.root, path, readWeights);
    files.push({ path: path === "." ? basename(options.root) : path, bytes, sha256, ...(weights ? { weights } : {}) });
    done += bytes;
    options.progress?.({ step: "inventory", done, total, unit: "bytes" });
  }
  const paths = new Set(found.map(({ path }) => path));
  const text = async (path: string, maxBytes: number) =>
    paths.has(path) ? withSource(options.root, path, (source) => readText(source, maxBytes)) : "";
  return {
    files,
    config: parseConfig(await text("config.json", BOM_LIMITS.configBytes)),
    adapter: parseConfig(await text("adapter_config.json", BOM_LIMITS.configBytes)),
    card: readModelCard(await text("README.md", BOM_LIMITS.readmeBytes)),
  };
}

async function withSource<T>(root: string, path: string, read: (source: FileSource) => T): Promise<T> {
  const source = await openFileSource(modelFilePath(root, path));
  try {
    return read(source);
  } finally {
    source.close();
  }
}

function readText(source: FileSource, maxBytes: number): string {
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

function readWeights(source: FileSource): WeightFacts | undefined {
  const format = looksLikeGguf(source) ? "gguf" : looksLikeSafetensors(source) ? "safetensors" : undefined;
  if (!format) return undefined;
  try {
    return format === "gguf" ? factsOfGguf(source) : factsOfSafetensors(source);
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
    return { format, valid: false, tensors: 0, parameters: 0n, types: [], metadata: [] };
  }
}

function factsOfSafetensors(source: FileSource): WeightFacts {
  const { tensors, metadata } = readSafetensorsHeader(source);
  const types = [...new Set(tensors.map(({ dtype }) => dtype))].sort();
  return { ...describe("safetensors", tensors), types, metadata: Object.entries(metadata).filter(isShort) };
}

function factsOfGguf(source: FileSource): WeightFacts {
  const { tensors, metadata } = readGgufHeader(source);
  const general = [...metadata].flatMap(([key, value]): [string, string][] =>
    key.startsWith("general.") && typeof value !== "object" ? [[key, String(value)]] : [],
  );
  const types = [...new Set(tensors.map(({ type }) => type))].sort();
  return { ...describe("gguf", tensors), types, metadata: general.filter(isShort) };
}

function describe(format: WeightFacts["format"], tensors: readonly { readonly shape: readonly number[] }[]) {
  const elements = tensors.map(({ shape }) => shape.reduce((product, size) => product * BigInt(size), 1n));
  return { format, valid: true, tensors: tensors.length, parameters: elements.reduce((sum, count) => sum + count, 0n) };
}

function isShort([key, value]: readonly [string, string]): boolean {
  return key.length + value.length <= BOM_LIMITS.textCharacters;
}
