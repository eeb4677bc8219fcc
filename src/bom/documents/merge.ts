/** Puts CycloneDX documents together into one: what has a package URL counts once, everything else stays apart. */

import type { Json, JsonObject } from "../document.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, textOf, textsOf, type Unknown } from "../plain.ts";
import { uuidOf } from "./inventory.ts";

export interface MergeOptions {
  /** Of what the parts make up together. */
  readonly name: string;
  readonly version?: string;
  /** Milliseconds since the epoch; without it the document bears no date. */
  readonly nowMs?: number;
}

const ROOT_REF = "merged";
const REF_KEYS = new Set(["bom-ref", "ref"]);
const REF_LISTS = new Set(["dependsOn", "provides"]);

/** CycloneDX 1.7. The subjects of the documents become components that the whole depends on. Fails with BOM_INVALID. */
export function mergeBoms(documents: readonly Unknown[], options: MergeOptions): JsonObject {
  const parts = documents.map((document, index) => renamed(document, index + 1));
  const components = new Map<string, Json>();
  const dependencies = new Map<string, Set<string>>();
  const vulnerabilities = new Map<string, Json>();
  const roots: string[] = [];
  for (const part of parts) {
    const root = asObject(asObject(part.metadata)?.component);
    if (root) roots.push(addComponent(components, root));
    for (const item of listOf(part.components)) addComponent(components, asObject(item) ?? {});
    for (const item of listOf(part.dependencies)) addEdges(dependencies, asObject(item) ?? {});
    for (const item of listOf(part.vulnerabilities)) vulnerabilities.set(JSON.stringify(item), item as Json);
  }
  const formulation = parts.flatMap((part) => listOf(part.formulation)) as Json[];
  if (components.size > BOM_LIMITS.components) throw bomError("BOM_INVALID", { detail: "too many components" });
  const { name, version, nowMs } = options;
  const content = {
    version: 1,
    metadata: {
      ...(nowMs === undefined ? {} : { timestamp: new Date(nowMs).toISOString() }),
      tools: { components: [{ type: "application", name: "modelkeep" }] },
      component: { type: "application", "bom-ref": ROOT_REF, name, ...(version === undefined ? {} : { version }) },
    },
    components: [...components.values()],
    dependencies: [
      { ref: ROOT_REF, dependsOn: [...new Set(roots)] },
      ...[...dependencies].map(([ref, needs]) => ({
        ref,
        ...(needs.size === 0 ? {} : { dependsOn: [...needs].sort() }),
      })),
    ],
    ...(vulnerabilities.size === 0 ? {} : { vulnerabilities: [...vulnerabilities.values()] }),
    ...(formulation.length === 0 ? {} : { formulation }),
  };
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.7",
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(content))}`,
    ...content,
  };
}

/** The reference under which the component is known. */
function addComponent(components: Map<string, Json>, component: Unknown): string {
  const ref = textOf(component["bom-ref"]) ?? textOf(component.purl) ?? JSON.stringify(component);
  if (!components.has(ref)) components.set(ref, component as JsonObject);
  return ref;
}

function addEdges(dependencies: Map<string, Set<string>>, edge: Unknown): void {
  const ref = textOf(edge.ref);
  if (ref === undefined) return;
  const known = dependencies.get(ref) ?? new Set();
  for (const need of textsOf(edge.dependsOn)) known.add(need);
  dependencies.set(ref, known);
}

/**
 * References that are package URLs name the same thing in every document; all others get the document's number. A
 * component with a package URL goes by that.
 */
function renamed(document: Unknown, number: number): Unknown {
  const purls = new Map<string, string>();
  for (const item of [asObject(document.metadata)?.component, ...listOf(document.components)]) {
    const { "bom-ref": ref, purl } = asObject(item) ?? {};
    if (typeof ref === "string" && typeof purl === "string" && !ref.includes("#")) purls.set(ref, purl);
  }
  const name = (ref: string) =>
    purls.get(ref) ?? (ref.startsWith("pkg:") || ref.startsWith("urn:cdx:") ? ref : `${number}/${ref}`);
  return asObject(walk(document, name, 0)) ?? {};
}

function walk(value: unknown, name: (ref: string) => string, depth: number): unknown {
  if (depth > BOM_LIMITS.bomDepth) throw bomError("BOM_INVALID", { detail: "nested too deep" });
  if (Array.isArray(value)) return value.map((item) => walk(item, name, depth + 1));
  const object = asObject(value);
  if (!object) return value;
  return Object.fromEntries(
    Object.entries(object).map(([key, item]) => {
      if (REF_KEYS.has(key) && typeof item === "string") return [key, name(item)];
      if (REF_LISTS.has(key)) return [key, textsOf(item).map(name)];
      return [key, walk(item, name, depth + 1)];
    }),
  );
}
