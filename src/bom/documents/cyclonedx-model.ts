/** The component of a model: card, pedigree, licence, and what it brings that runs. */
import { PackageURL } from "packageurl-js";
import type { JsonObject } from "../document.ts";
import type { ModelFacts } from "../models/facts.ts";
import { licenseOf } from "../models/license.ts";
import { baseModels, type Fact, type Inventory } from "./inventory.ts";

/** `head` begins the component, `rows` end its properties. */
export function modelComponent(
  { supplier }: Inventory,
  facts: ModelFacts,
  datasets: readonly string[],
  head: JsonObject,
  rows: readonly Fact[],
): JsonObject {
  const { card } = facts;
  const license = licenseOf(card);
  const ancestors = baseModels(facts).map(ancestor);
  return {
    ...head,
    ...(supplier === undefined ? {} : { supplier: { name: supplier } }),
    ...(card.description === undefined ? {} : { description: card.description }),
    ...(license ? { licenses: [license] } : {}),
    ...(ancestors.length === 0 ? {} : { pedigree: { ancestors } }),
    modelCard: modelCard(facts, datasets),
    ...(card.tags.length === 0 ? {} : { tags: card.tags }),
    properties: [...propertiesOf(facts), ...rows].map(property),
  };
}

export function property([name, value]: Fact): JsonObject {
  return { name: `modelkeep:${name}`, value };
}

/** How it came to be, as far as the card says: from which models and data, by which kind of training. */
export function formulationOf(facts: ModelFacts, datasets: readonly string[]): JsonObject {
  const ancestors = baseModels(facts);
  if (ancestors.length + datasets.length === 0) return {};
  const components = ancestors.map((name) => ({ ...ancestor(name), "bom-ref": `base:${name}` }));
  const inputs = [...ancestors.map((name) => `base:${name}`), ...datasets].map((ref) => ({ resource: { ref } }));
  const workflow = {
    "bom-ref": "training",
    uid: "training",
    name: facts.card.baseRelation ?? "training",
    taskTypes: ["other"],
    inputs,
    outputs: [{ type: "artifact", resource: { ref: "model" } }],
  };
  const formula = { "bom-ref": "formula", ...(components.length === 0 ? {} : { components }), workflows: [workflow] };
  return { formulation: [formula] };
}

/** `organisation/name` is a model of Hugging Face; anything else has only its name. */
function ancestor(name: string): JsonObject {
  const purl = hubPurl(name);
  return { type: "machine-learning-model", name, ...(purl === undefined ? {} : { purl }) };
}

export function hubPurl(name: string): string | undefined {
  const [organisation, model, more] = name.split("/");
  const isHub = organisation && model && more === undefined && /^[\w.-]+\/[\w.-]+$/.test(name);
  return isHub ? new PackageURL("huggingface", organisation, model).toString() : undefined;
}

function modelCard({ card, config }: ModelFacts, datasets: readonly string[]): JsonObject {
  const { architectures, model_type: family } = config;
  const architecture: unknown = Array.isArray(architectures) ? architectures[0] : undefined;
  const isText = card.task === "text-generation";
  const parameters = {
    ...(card.task === undefined ? {} : { task: card.task }),
    ...(typeof family === "string" ? { architectureFamily: family } : {}),
    ...(typeof architecture === "string" ? { modelArchitecture: architecture } : {}),
    ...(datasets.length === 0 ? {} : { datasets: datasets.map((ref) => ({ ref })) }),
    ...(isText ? { inputs: [{ format: "text" }], outputs: [{ format: "text" }] } : {}),
  };
  const metrics = card.metrics.map(({ type, value, slice }) => ({ type, value, ...(slice === "" ? {} : { slice }) }));
  return {
    modelParameters: parameters,
    ...(metrics.length === 0 ? {} : { quantitativeAnalysis: { performanceMetrics: metrics } }),
  };
}

const SETTINGS = ["torch_dtype", "dtype", "vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"];

function propertiesOf({ card, config, code, files, properties }: ModelFacts): Fact[] {
  const settings = SETTINGS.flatMap((key): Fact[] => {
    const value = config[key];
    return typeof value === "string" || typeof value === "number" ? [[`config:${key}`, String(value)]] : [];
  });
  const runs = code.files.length + code.repositories.length > 0 || config.auto_map !== undefined;
  return [
    ...card.languages.map((language): Fact => ["language", language]),
    ...(card.library === undefined ? [] : [["library", card.library] as const]),
    ...(card.baseRelation === undefined ? [] : [["base_model_relation", card.baseRelation] as const]),
    ...(card.broken ? [["model_card", "unreadable"] as const] : []),
    ...settings,
    ...properties,
    ...(runs ? [["custom_code", "true"] as const] : []),
    ...code.files.map((path): Fact => ["custom_code:file", path]),
    ...code.repositories.map((name): Fact => ["custom_code:repository", name]),
    ...code.templates.map(({ place, sha256 }): Fact => [`chat_template:${place}`, sha256]),
    ["files", String(files.length)],
    ["bytes", String(files.reduce((sum, file) => sum + file.bytes, 0))],
  ];
}
