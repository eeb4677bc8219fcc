/** Puts an inventory into CycloneDX 1.7 or 1.6 (ECMA-424): plain JSON in a fixed order, so that equal inputs give equal bytes. */
import type { JsonObject } from "../document.ts";
import type { Library } from "../lockfiles/component.ts";
import type { DatasetFacts } from "../models/datasets.ts";
import type { ModelFileFacts } from "../models/facts.ts";
import { licensesOfText } from "../models/license.ts";
import { formulationOf, modelComponent, property } from "./cyclonedx-model.ts";
import { vulnerabilityOf } from "./cyclonedx-vulnerabilities.ts";
import { allDatasets, edgesOf, type Inventory, libraryPurl, libraryRef, mergeLibraries, uuidOf } from "./inventory.ts";

export const CYCLONEDX_VERSIONS = ["1.7", "1.6"] as const;
export type CycloneDxVersion = (typeof CYCLONEDX_VERSIONS)[number];

/** The serial number is derived from the content. */
export function toCycloneDx(inventory: Inventory, specVersion: CycloneDxVersion = "1.7"): JsonObject {
  const { facts, libraries, examination } = inventory;
  const datasets = allDatasets(inventory);
  const parts = [...(facts?.files ?? []).map(fileComponent), ...datasets.map(datasetComponent)];
  const known = mergeLibraries(libraries);
  const vulnerabilities = (examination?.matches ?? []).map(vulnerabilityOf);
  const content = {
    version: 1,
    metadata: {
      ...(inventory.nowMs === undefined ? {} : { timestamp: new Date(inventory.nowMs).toISOString() }),
      lifecycles: [{ phase: inventory.kind === "environment" ? "operations" : "build" }],
      tools: {
        components: [
          {
            type: "application",
            name: "modelkeep",
            ...(inventory.toolVersion === undefined ? {} : { version: inventory.toolVersion }),
          },
        ],
      },
      ...(inventory.author === undefined ? {} : { authors: [{ name: inventory.author }] }),
      component: subjectOf(inventory, datasets),
      ...(inventory.supplier === undefined ? {} : { supplier: { name: inventory.supplier } }),
    },
    components: [...parts, ...[...known.values()].map(libraryComponent)],
    dependencies: dependenciesOf(parts, known),
    ...(vulnerabilities.length === 0 ? {} : { vulnerabilities }),
    ...(facts
      ? formulationOf(
          facts,
          datasets.map(({ name }) => datasetRef(name)),
        )
      : {}),
  };
  const serialNumber = `urn:uuid:${uuidOf(JSON.stringify(content))}`;
  return { bomFormat: "CycloneDX", specVersion, serialNumber, ...content };
}

const SUBJECT_REF = "model";
const TYPES = {
  model: "machine-learning-model",
  environment: "application",
  image: "container",
  project: "application",
} as const;

function subjectOf(inventory: Inventory, datasets: readonly DatasetFacts[]): JsonObject {
  const { kind, name, version, facts, about } = inventory;
  const head = { type: TYPES[kind], "bom-ref": SUBJECT_REF, name, ...(version === undefined ? {} : { version }) };
  const rows = [...(about ?? []), ...examined(inventory)];
  if (facts && kind === "model")
    return modelComponent(
      inventory,
      facts,
      datasets.map(({ name: set }) => datasetRef(set)),
      head,
      rows,
    );
  return { ...head, ...(rows.length === 0 ? {} : { properties: rows.map(property) }) };
}

function examined({ examination }: Inventory): (readonly [string, string])[] {
  const { scanVerdict, signerKeyId, rootDigest, matches } = examination ?? {};
  return [
    ...(scanVerdict === undefined ? [] : [["scan_verdict", scanVerdict] as const]),
    ...(signerKeyId === undefined ? [] : [["signer_key_id", signerKeyId] as const]),
    ...(rootDigest === undefined ? [] : [["root_digest", rootDigest] as const]),
    ...(matches === undefined ? [] : [["advisories_matched", "true"] as const]),
  ];
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
    ...(file.mediaType !== undefined && /^[-+a-z0-9.]+\/[-+a-z0-9.]+$/.test(file.mediaType)
      ? { "mime-type": file.mediaType }
      : {}),
    name: file.path,
    hashes: [{ alg: "SHA-256", content: file.sha256 }],
    properties: rows.map(property),
  };
}

function datasetRef(name: string): string {
  return `dataset:${name}`;
}

function datasetComponent(dataset: DatasetFacts): JsonObject {
  const { name, version, description, license, url, creator, sensitive, sha256, files, facts } = dataset;
  const rows = [...facts, ...files.map((file) => [`sha256:${file.name}`, file.sha256] as const)];
  const data = {
    type: "dataset",
    name,
    ...(isUrl(url) ? { contents: { url } } : {}),
    ...(sensitive === undefined ? {} : { sensitiveData: [sensitive] }),
    ...(description === undefined ? {} : { description }),
    ...(creator === undefined ? {} : { governance: { owners: [{ organization: { name: creator } }] } }),
  };
  return {
    type: "data",
    "bom-ref": datasetRef(name),
    name,
    ...(version === undefined ? {} : { version }),
    ...(sha256 === undefined ? {} : { hashes: [{ alg: "SHA-256", content: sha256 }] }),
    ...(license === undefined ? {} : { licenses: licensesOfText(license) }),
    ...(rows.length === 0 ? {} : { properties: rows.map(property) }),
    data: [data],
  };
}

function isUrl(text: string | undefined): text is string {
  return text !== undefined && /^https?:\/\/[^\s<>"{}|\\^`]+$/.test(text);
}

function libraryComponent(library: Library): JsonObject {
  const { name, version, requirement, hashes, license, facts } = library;
  const rows = [...(requirement === undefined ? [] : [["requirement", requirement] as const]), ...(facts ?? [])];
  return {
    type: "library",
    "bom-ref": libraryRef(library),
    name,
    ...(version === undefined ? {} : { version }),
    ...(hashes.length === 0 ? {} : { hashes: hashes.map(({ algorithm, hex }) => ({ alg: algorithm, content: hex })) }),
    ...(license === undefined ? {} : { licenses: licensesOfText(license) }),
    purl: libraryPurl(library),
    ...(rows.length === 0 ? {} : { properties: rows.map(property) }),
  };
}

function dependenciesOf(parts: readonly JsonObject[], libraries: ReadonlyMap<string, Library>): JsonObject[] {
  const edges = [...edgesOf(libraries)].map(([ref, dependsOn]) => ({ ref, dependsOn }));
  const direct = [...parts.map((part) => part["bom-ref"]), ...libraries.keys()].filter(
    (ref) => typeof ref === "string",
  );
  return [{ ref: SUBJECT_REF, dependsOn: direct }, ...edges];
}
