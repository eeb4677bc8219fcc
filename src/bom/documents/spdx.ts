/** Puts an inventory into SPDX 3.0.1 as JSON-LD, with the AI, Dataset, Software, Licensing and Security profiles. */
import type { JsonObject } from "../document.ts";
import type { Library } from "../lockfiles/component.ts";
import type { DatasetFacts } from "../models/datasets.ts";
import type { ModelFacts, ModelFileFacts } from "../models/facts.ts";
import { spdxIdOf } from "../models/license.ts";
import { hubPurl } from "./cyclonedx-model.ts";
import { allDatasets, baseModels, edgesOf, type Inventory, libraryPurl, mergeLibraries, uuidOf } from "./inventory.ts";
import { SpdxGraph } from "./spdx-graph.ts";
import { addVulnerabilities } from "./spdx-security.ts";

/** What the specification lets stand where nobody said anything. */
const NO_ASSERTION = "NOASSERTION";

/** Equal inventories give equal documents: the namespace is derived from the content, and without a date the date is 1970. */
export function toSpdx(inventory: Inventory): JsonObject {
  const space = `urn:modelkeep:spdx:${uuidOf(JSON.stringify([inventory.name, inventory], replacer))}`;
  const created = new Date(inventory.nowMs ?? 0).toISOString().replace(/\.\d+Z$/, "Z");
  const graph = new SpdxGraph(space, created, inventory.author ?? "modelkeep");
  const subject = addSubject(graph, inventory, created);
  const libraries = addLibraries(graph, inventory, subject);
  addVulnerabilities(graph, inventory.examination?.matches ?? [], libraries, subject);
  return graph.document(inventory.name, subject);
}

/** Counts of parameters are wider than JSON's numbers. */
function replacer(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

function addSubject(graph: SpdxGraph, inventory: Inventory, created: string): string {
  const { kind, name, version, facts, supplier } = inventory;
  const isModel = kind === "model" && facts !== undefined;
  const purpose = { model: "model", environment: "application", image: "container", project: "application" } as const;
  const subject = graph.add("subject", isModel ? "ai_AIPackage" : "software_Package", {
    name,
    software_primaryPurpose: purpose[kind],
    software_packageVersion: version ?? NO_ASSERTION,
    software_downloadLocation: locationOf(name),
    suppliedBy: graph.organization(supplier ?? NO_ASSERTION),
    releaseTime: created,
    ...(isModel ? aboutModel(facts) : {}),
  });
  const files = (facts?.files ?? []).map((file) => addFile(graph, file));
  graph.relate(subject, "contains", files);
  if (facts) addLineage(graph, subject, facts, created);
  graph.relate(
    subject,
    "trainedOn",
    allDatasets(inventory).map((dataset) => addDataset(graph, dataset, created)),
  );
  addLicense(graph, subject, facts?.card.license ?? facts?.card.licenseName);
  return subject;
}

function locationOf(name: string): string {
  return hubPurl(name) === undefined ? NO_ASSERTION : `https://huggingface.co/${name}`;
}

function aboutModel({ card, config, code }: ModelFacts): JsonObject {
  const architecture: unknown = Array.isArray(config.architectures) ? config.architectures[0] : undefined;
  const types = [config.model_type, architecture].filter((item) => typeof item === "string");
  const metrics = card.metrics.map(({ type, value, slice }) =>
    entry(slice === "" ? type : `${type} (${slice})`, value),
  );
  const settings = ["hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings"].flatMap((key) => {
    const value = config[key];
    return typeof value === "string" || typeof value === "number" ? [entry(key, String(value))] : [];
  });
  const limits =
    code.files.length + code.repositories.length === 0
      ? []
      : [`runs code of its own: ${[...code.files, ...code.repositories].join(", ")}`];
  return {
    ...(card.description === undefined ? {} : { description: card.description }),
    ...(types.length === 0 ? {} : { ai_typeOfModel: types }),
    ...(card.task === undefined ? {} : { ai_domain: [card.task] }),
    ...(metrics.length === 0 ? {} : { ai_metric: metrics }),
    ...(settings.length === 0 ? {} : { ai_hyperparameter: settings }),
    ...(limits.length === 0 ? {} : { ai_limitation: limits.join("; ").slice(0, 2000) }),
  };
}

function entry(key: string, value: string): JsonObject {
  return { type: "DictionaryEntry", key, value };
}

function addFile(graph: SpdxGraph, file: ModelFileFacts): string {
  return graph.add(`file:${file.path}`, "software_File", {
    name: file.path,
    software_primaryPurpose: file.weights ? "model" : "file",
    verifiedUsing: [{ type: "Hash", algorithm: "sha256", hashValue: file.sha256 }],
  });
}

function addLineage(graph: SpdxGraph, subject: string, facts: ModelFacts, created: string): void {
  for (const name of baseModels(facts)) {
    const ancestor = graph.add(`model:${name}`, "ai_AIPackage", {
      name,
      software_primaryPurpose: "model",
      software_packageVersion: NO_ASSERTION,
      software_downloadLocation: locationOf(name),
      suppliedBy: graph.organization(name.includes("/") ? (name.split("/")[0] ?? NO_ASSERTION) : NO_ASSERTION),
      releaseTime: created,
    });
    graph.relate(ancestor, "ancestorOf", [subject]);
  }
}

function addDataset(graph: SpdxGraph, dataset: DatasetFacts, created: string): string {
  const { name, version, description, url, creator, sha256, sensitive, license, facts } = dataset;
  const records = facts
    .filter(([key]) => key.startsWith("split:"))
    .reduce((sum, [, value]) => sum + (Number(value) || 0), 0);
  const id = graph.add(`dataset:${name}`, "dataset_DatasetPackage", {
    name,
    software_primaryPurpose: "data",
    software_downloadLocation: url !== undefined && /^https?:\/\/\S+$/.test(url) ? url : NO_ASSERTION,
    dataset_datasetType: ["noAssertion"],
    ...(version === undefined ? {} : { software_packageVersion: version }),
    ...(description === undefined ? {} : { description }),
    ...(sensitive === undefined
      ? {}
      : { dataset_hasSensitivePersonalInformation: /^no\b/i.test(sensitive) ? "no" : "yes" }),
    ...(records === 0 ? {} : { dataset_datasetSize: records }),
    ...(sha256 === undefined ? {} : { verifiedUsing: [{ type: "Hash", algorithm: "sha256", hashValue: sha256 }] }),
    originatedBy: [graph.organization(creator ?? NO_ASSERTION)],
    builtTime: created,
    releaseTime: created,
  });
  addLicense(graph, id, license);
  return id;
}

function addLicense(graph: SpdxGraph, subject: string, written: string | undefined): void {
  if (written === undefined) return;
  const expression = spdxIdOf(written) ?? `LicenseRef-${written.replace(/[^A-Za-z0-9.-]+/g, "-").slice(0, 100)}`;
  const license = graph.add(`license:${expression}`, "simplelicensing_LicenseExpression", {
    simplelicensing_licenseExpression: expression,
  });
  graph.relate(subject, "hasDeclaredLicense", [license]);
}

/** By purl. */
function addLibraries(graph: SpdxGraph, inventory: Inventory, subject: string): Map<string, string> {
  const known = mergeLibraries(inventory.libraries);
  const ids = new Map<string, string>();
  const byPurl = new Map<string, string>();
  for (const [ref, library] of known) {
    const id = addLibrary(graph, ref, library);
    ids.set(ref, id);
    byPurl.set(libraryPurl(library), id);
  }
  graph.relate(subject, "dependsOn", [...ids.values()]);
  for (const [ref, needs] of edgesOf(known)) {
    graph.relate(
      ids.get(ref) ?? subject,
      "dependsOn",
      needs.flatMap((other) => ids.get(other) ?? []),
    );
  }
  return byPurl;
}

const HASHES: Readonly<Record<string, string>> = {
  MD5: "md5",
  "SHA-256": "sha256",
  "SHA-384": "sha384",
  "SHA-512": "sha512",
};

function addLibrary(graph: SpdxGraph, ref: string, library: Library): string {
  const { name, version, hashes, license, requirement } = library;
  const id = graph.add(`library:${ref}`, "software_Package", {
    name,
    software_primaryPurpose: "library",
    ...(version === undefined ? {} : { software_packageVersion: version }),
    software_packageUrl: libraryPurl(library),
    ...(requirement === undefined ? {} : { comment: `asked for: ${requirement}` }),
    ...(hashes.length === 0
      ? {}
      : {
          verifiedUsing: hashes.map(({ algorithm, hex }) => ({
            type: "Hash",
            algorithm: HASHES[algorithm] ?? "other",
            hashValue: hex,
          })),
        }),
  });
  addLicense(graph, id, license);
  return id;
}
