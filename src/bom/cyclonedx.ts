/** Puts the inventory into CycloneDX 1.7 (ECMA-424): plain JSON in a fixed order, so that equal inputs give equal bytes. */
import { createHash } from "node:crypto";
import { PackageURL } from "packageurl-js";
import type { JsonObject } from "./document.ts";
import { licenseOf } from "./license.ts";
import type { Library } from "./lockfiles/component.ts";
import type { ModelFacts, ModelFileFacts } from "./model-facts.ts";
import { purlOf } from "./packages.ts";

export interface Inventory {
  readonly name: string;
  readonly version?: string;
  readonly facts: ModelFacts;
  readonly libraries: readonly Library[];
  /** Milliseconds since the epoch; without it the document bears no date. */
  readonly now?: number;
}

const MODEL_REF = "model";

/** A document that says `specVersion` 1.7; its serial number is derived from the content. */
export function toCycloneDx(inventory: Inventory): JsonObject {
  const { facts, libraries } = inventory;
  const parts = [...facts.files.map(fileComponent), ...facts.card.datasets.map(datasetComponent)];
  const known = mergeLibraries(libraries);
  const content = {
    version: 1,
    metadata: {
      ...(inventory.now === undefined ? {} : { timestamp: new Date(inventory.now).toISOString() }),
      tools: { components: [{ type: "application", name: "modelkeep" }] },
      component: modelComponent(inventory),
    },
    components: [...parts, ...[...known.values()].map(libraryComponent)],
    dependencies: dependenciesOf(parts, known),
  };
  const serialNumber = `urn:uuid:${uuidOf(JSON.stringify(content))}`;
  return { bomFormat: "CycloneDX", specVersion: "1.7", serialNumber, ...content };
}

/** A UUID of version 8 (RFC 9562) from the SHA-256 of the text. */
function uuidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function modelComponent({ name, version, facts }: Inventory): JsonObject {
  const { card } = facts;
  const license = licenseOf(card);
  const ancestors = baseModels(facts).map(ancestor);
  return {
    type: "machine-learning-model",
    "bom-ref": MODEL_REF,
    name,
    ...(version === undefined ? {} : { version }),
    ...(card.description === undefined ? {} : { description: card.description }),
    ...(license ? { licenses: [license] } : {}),
    ...(ancestors.length === 0 ? {} : { pedigree: { ancestors } }),
    modelCard: modelCard(facts),
    ...(card.tags.length === 0 ? {} : { tags: card.tags }),
    properties: propertiesOf(facts),
  };
}

function baseModels({ card, adapter }: ModelFacts): string[] {
  const base = adapter.base_model_name_or_path;
  return [...new Set([...card.baseModels, ...(typeof base === "string" && base !== "" ? [base] : [])])];
}

/** `organisation/name` is a model of Hugging Face; anything else has only its name. */
function ancestor(name: string): JsonObject {
  const [organisation, model, more] = name.split("/");
  const isHub = organisation && model && more === undefined && /^[\w.-]+\/[\w.-]+$/.test(name);
  const purl = isHub ? { purl: new PackageURL("huggingface", organisation, model).toString() } : {};
  return { type: "machine-learning-model", name, ...purl };
}

function modelCard({ card, config }: ModelFacts): JsonObject {
  const { architectures, model_type: family } = config;
  const architecture: unknown = Array.isArray(architectures) ? architectures[0] : undefined;
  const isText = card.task === "text-generation";
  const parameters = {
    ...(card.task === undefined ? {} : { task: card.task }),
    ...(typeof family === "string" ? { architectureFamily: family } : {}),
    ...(typeof architecture === "string" ? { modelArchitecture: architecture } : {}),
    ...(card.datasets.length === 0 ? {} : { datasets: card.datasets.map((name) => ({ ref: datasetRef(name) })) }),
    ...(isText ? { inputs: [{ format: "text" }], outputs: [{ format: "text" }] } : {}),
  };
  const metrics = card.metrics.map(({ type, value, slice }) => ({ type, value, ...(slice === "" ? {} : { slice }) }));
  return {
    modelParameters: parameters,
    ...(metrics.length === 0 ? {} : { quantitativeAnalysis: { performanceMetrics: metrics } }),
  };
}

function propertiesOf({ card, config, files }: ModelFacts): JsonObject[] {
  const custom = config.auto_map === undefined ? [] : [["custom_code", "true"] as const];
  const scalars = ["torch_dtype", "dtype", "vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"];
  const settings = scalars.flatMap((key) => {
    const value = config[key];
    return typeof value === "string" || typeof value === "number" ? [[`config:${key}`, String(value)] as const] : [];
  });
  const rows: (readonly [string, string])[] = [
    ...card.languages.map((language) => ["language", language] as const),
    ...(card.library === undefined ? [] : [["library", card.library] as const]),
    ...(card.baseRelation === undefined ? [] : [["base_model_relation", card.baseRelation] as const]),
    ...(card.broken ? [["model_card", "unreadable"] as const] : []),
    ...settings,
    ...custom,
    ["files", String(files.length)],
    ["bytes", String(files.reduce((sum, file) => sum + file.bytes, 0))],
  ];
  return rows.map(property);
}

function property([name, value]: readonly [string, string]): JsonObject {
  return { name: `modelkeep:${name}`, value };
}

function fileComponent(file: ModelFileFacts): JsonObject {
  const { weights } = file;
  const rows: (readonly [string, string])[] = [["bytes", String(file.bytes)]];
  if (weights) {
    rows.push(["format", weights.format], ["header", weights.valid ? "valid" : "invalid"]);
    if (weights.valid) {
      rows.push(["tensors", String(weights.tensors)], ["parameters", String(weights.parameters)]);
      rows.push(...weights.types.map((type) => ["tensor_type", type] as const));
      rows.push(...weights.metadata.map(([key, value]) => [`${weights.format}:${key}`, value] as const));
    }
  }
  return {
    type: "file",
    "bom-ref": `file:${file.path}`,
    name: file.path,
    hashes: [{ alg: "SHA-256", content: file.sha256 }],
    properties: rows.map(property),
  };
}

function datasetRef(name: string): string {
  return `dataset:${name}`;
}

function datasetComponent(name: string): JsonObject {
  return { type: "data", "bom-ref": datasetRef(name), name, data: [{ type: "dataset", name }] };
}

/** One entry per library and version, whichever files name it. */
function mergeLibraries(libraries: readonly Library[]): Map<string, Library> {
  const known = new Map<string, Library>();
  for (const library of libraries) {
    const ref = libraryRef(library);
    const before = known.get(ref);
    known.set(
      ref,
      before ? { ...library, ...before, needs: [...new Set([...before.needs, ...library.needs])] } : library,
    );
  }
  return new Map([...known].sort(([a], [b]) => (a < b ? -1 : Number(a > b))));
}

function libraryRef({ ecosystem, name, version, requirement }: Library): string {
  const purl = purlOf(ecosystem, name, version);
  return requirement === undefined ? purl : `${purl}#${requirement}`;
}

function libraryComponent(library: Library): JsonObject {
  const { ecosystem, name, version, requirement, hashes } = library;
  return {
    type: "library",
    "bom-ref": libraryRef(library),
    name,
    ...(version === undefined ? {} : { version }),
    ...(hashes.length === 0 ? {} : { hashes: hashes.map(({ algorithm, hex }) => ({ alg: algorithm, content: hex })) }),
    purl: purlOf(ecosystem, name, version),
    ...(requirement === undefined ? {} : { properties: [property(["requirement", requirement])] }),
  };
}

function dependenciesOf(parts: readonly JsonObject[], libraries: ReadonlyMap<string, Library>): JsonObject[] {
  const refsOfName = new Map<string, string[]>();
  for (const [ref, { ecosystem, name }] of libraries) {
    const key = `${ecosystem}\n${name}`;
    refsOfName.set(key, [...(refsOfName.get(key) ?? []), ref]);
  }
  const edges = [...libraries].flatMap(([ref, { ecosystem, needs }]) => {
    const dependsOn = [...new Set(needs.flatMap((name) => refsOfName.get(`${ecosystem}\n${name}`) ?? []))];
    return dependsOn.length === 0 ? [] : [{ ref, dependsOn: dependsOn.sort() }];
  });
  const direct = [...parts.map((part) => part["bom-ref"]), ...libraries.keys()].filter(
    (ref) => typeof ref === "string",
  );
  return [{ ref: MODEL_REF, dependsOn: direct }, ...edges];
}
