/** What a document tells of, whichever format it is written in. */
import { createHash } from "node:crypto";
import type { Library } from "../lockfiles/component.ts";
import type { DatasetFacts } from "../models/datasets.ts";
import type { ModelFacts } from "../models/facts.ts";
import { purlOf } from "../packages.ts";
import type { JudgedMatch } from "../vex/judge.ts";

export type Fact = readonly [string, string];

export type SubjectKind = "model" | "environment" | "image" | "project";

/** What others found out about a model, to stand in its document. */
export interface Examination {
  /** Of the file scanner: clean, suspicious, malicious, unscannable or malformed. */
  readonly scanVerdict?: string;
  /** SHA-256 of the signer's public key, and the root digest that is signed. */
  readonly signerKeyId?: string;
  readonly rootDigest?: string;
  /** Absent when nothing was matched. */
  readonly matches?: readonly JudgedMatch[];
}

export interface Inventory {
  readonly kind: SubjectKind;
  readonly name: string;
  readonly version?: string;
  /** Of a model. */
  readonly facts?: ModelFacts;
  readonly datasets: readonly DatasetFacts[];
  readonly libraries: readonly Library[];
  /** Of an environment or an image: platform, operating system, digest. */
  readonly about?: readonly Fact[];
  readonly examination?: Examination;
  /** Who writes the document. */
  readonly author?: string;
  /** Who made what it is about. */
  readonly supplier?: string;
  /** Milliseconds since the epoch; without it the document bears no date. */
  readonly nowMs?: number;
  /** Of this program. */
  readonly toolVersion?: string;
}

/** Models that this one comes from: of the card, of the adapter, and of the headers of GGUF files. */
export function baseModels({ card, adapter, files }: ModelFacts): string[] {
  const base = adapter.base_model_name_or_path;
  const headers = files.flatMap(({ weights }) => lineageOf(weights?.metadata ?? [], "base_model"));
  return [...new Set([...card.baseModels, ...(typeof base === "string" && base !== "" ? [base] : []), ...headers])];
}

/** `general.base_model.0.repo_url` and its kin (GGUF, "General metadata"). */
function lineageOf(metadata: readonly Fact[], what: "base_model" | "dataset"): string[] {
  const values = new Map(metadata);
  const names: string[] = [];
  for (const [key, name] of metadata) {
    const prefix = new RegExp(`^(general\\.${what}\\.\\d+\\.)name$`).exec(key)?.[1];
    if (prefix === undefined) continue;
    const hub = /^https:\/\/huggingface\.co\/(?:datasets\/)?([\w.-]+\/[\w.-]+)$/.exec(
      values.get(`${prefix}repo_url`) ?? "",
    )?.[1];
    const organisation = values.get(`${prefix}organization`);
    names.push(hub ?? (organisation === undefined ? name : `${organisation}/${name}`));
  }
  return names;
}

/** Every data set once: what the card names, what headers name, and what is described or hashed in full. */
export function allDatasets({ facts, datasets }: Inventory): DatasetFacts[] {
  const known = new Map<string, DatasetFacts>();
  for (const item of [...datasets, ...(facts?.datasets ?? [])]) if (!known.has(item.name)) known.set(item.name, item);
  const headers = (facts?.files ?? []).flatMap(({ weights }) => lineageOf(weights?.metadata ?? [], "dataset"));
  for (const name of [...(facts?.card.datasets ?? []), ...headers]) {
    const isKnown = [...known.keys()].some((other) => other === name || other.startsWith(`${name}/`));
    if (!isKnown) known.set(name, { name, files: [], facts: [] });
  }
  return [...known.values()];
}

/** One entry per library and version, whichever files name it, in order of their references. */
export function mergeLibraries(libraries: readonly Library[]): Map<string, Library> {
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

export function libraryRef(library: Library): string {
  const purl = libraryPurl(library);
  return library.requirement === undefined ? purl : `${purl}#${library.requirement}`;
}

export function libraryPurl(library: Library): string {
  return purlOf(library.ecosystem, library.name, library.version, library);
}

/** The references that each library needs, of those that are there. */
export function edgesOf(libraries: ReadonlyMap<string, Library>): Map<string, string[]> {
  const refsOfName = new Map<string, string[]>();
  for (const [ref, { ecosystem, name }] of libraries) {
    const key = `${ecosystem}\n${name}`;
    const refs = refsOfName.get(key);
    if (refs) refs.push(ref);
    else refsOfName.set(key, [ref]);
  }
  const edges = new Map<string, string[]>();
  for (const [ref, { ecosystem, needs }] of libraries) {
    const found = [...new Set(needs.flatMap((name) => refsOfName.get(`${ecosystem}\n${name}`) ?? []))].filter(
      (other) => other !== ref,
    );
    if (found.length > 0) edges.set(ref, found.sort());
  }
  return edges;
}

/** A UUID of version 8 (RFC 9562) from the SHA-256 of the text. */
export function uuidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
