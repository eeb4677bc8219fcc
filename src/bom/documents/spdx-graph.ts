/** Elements and relationships of an SPDX 3.0.1 document (JSON-LD serialisation). */
import { createHash } from "node:crypto";
import type { Json, JsonObject } from "../document.ts";

const CREATION = "_:creation";
/** JSON-LD relationships name both ends; a list that is too long is cut into several. */
const MAX_ENDS = 10_000;

export class SpdxGraph {
  readonly #space: string;
  readonly #created: string;
  readonly #author: string;
  readonly #elements = new Map<string, JsonObject>();
  readonly #relationships: JsonObject[] = [];

  constructor(space: string, created: string, author: string) {
    this.#space = space;
    this.#created = created;
    this.#author = this.organization(author);
  }

  /** Returns the id; an element of that key that is there already stays. */
  add(key: string, type: string, members: JsonObject): string {
    const id = `${this.#space}#${createHash("sha256").update(key).digest("hex").slice(0, 32)}`;
    if (!this.#elements.has(id)) this.#elements.set(id, { type, spdxId: id, creationInfo: CREATION, ...members });
    return id;
  }

  organization(name: string): string {
    return this.add(`organization:${name}`, "Organization", { name });
  }

  /** Nothing when there is nothing to relate to. */
  relate(
    from: string,
    relationshipType: string,
    to: readonly string[],
    type = "Relationship",
    more: JsonObject = {},
  ): void {
    for (let at = 0; at < to.length; at += MAX_ENDS) {
      const key = `${type}:${from}:${relationshipType}:${to[at]}:${to.length}`;
      const id = `${this.#space}#${createHash("sha256").update(key).digest("hex").slice(0, 32)}`;
      this.#relationships.push({
        type,
        spdxId: id,
        creationInfo: CREATION,
        from,
        relationshipType,
        to: to.slice(at, at + MAX_ENDS),
        ...more,
      });
    }
  }

  document(name: string, root: string): JsonObject {
    const tool = this.add("tool:modelkeep", "Tool", { name: "modelkeep" });
    const all = [...this.#elements.values(), ...this.#relationships];
    const creation = {
      type: "CreationInfo",
      "@id": CREATION,
      specVersion: "3.0.1",
      created: this.#created,
      createdBy: [this.#author],
      createdUsing: [tool],
    };
    const ids = all.map(({ spdxId }): Json => spdxId ?? "");
    const has = (prefix: string) => all.some(({ type }) => typeof type === "string" && type.startsWith(prefix));
    const sbom = {
      type: "software_Sbom",
      spdxId: `${this.#space}#sbom`,
      creationInfo: CREATION,
      software_sbomType: ["build"],
      rootElement: [root],
      element: ids,
    };
    const document = {
      type: "SpdxDocument",
      spdxId: `${this.#space}#document`,
      creationInfo: CREATION,
      name,
      profileConformance: [
        "core",
        "software",
        ...(has("simplelicensing_") ? ["simpleLicensing"] : []),
        ...(has("ai_") ? ["ai"] : []),
        ...(has("dataset_") ? ["dataset"] : []),
        ...(has("security_") ? ["security"] : []),
      ],
      rootElement: [`${this.#space}#sbom`],
      element: [...ids, `${this.#space}#sbom`],
    };
    return {
      "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
      "@graph": [creation, document, sbom, ...all],
    };
  }
}
