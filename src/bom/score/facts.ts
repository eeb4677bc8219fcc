/** What the elements of a scorecard look at in a CycloneDX document. */
import { asObject, listOf, textOf, textsOf, type Unknown } from "../plain.ts";

export interface BomFacts {
  readonly bom: Unknown;
  readonly metadata: Unknown;
  readonly subject: Unknown;
  readonly card: Unknown;
  readonly parameters: Unknown;
  readonly considerations: Unknown;
  readonly components: readonly Unknown[];
  readonly datasets: readonly Unknown[];
  readonly files: readonly Unknown[];
  /** Of the subject, by name without `modelkeep:`. */
  readonly properties: ReadonlyMap<string, string>;
  /** By type, of the subject and the document. */
  readonly references: ReadonlyMap<string, string>;
  /** True when a signature over the document was verified. */
  readonly isSigned: boolean;
}

export function factsOfBom(bom: Unknown, isSigned: boolean): BomFacts {
  const metadata = asObject(bom.metadata) ?? {};
  const components = listOf(bom.components).map((item): Unknown => asObject(item) ?? {});
  const root = asObject(metadata.component) ?? {};
  const isModel = (item: Unknown) => item.type === "machine-learning-model";
  const subject = isModel(root) ? root : (components.find(isModel) ?? root);
  const card = asObject(subject.modelCard) ?? {};
  return {
    bom,
    metadata,
    subject,
    card,
    parameters: asObject(card.modelParameters) ?? {},
    considerations: asObject(card.considerations) ?? {},
    components,
    datasets: components.filter(({ type }) => type === "data"),
    files: components.filter(({ type }) => type === "file"),
    properties: new Map([root, subject].flatMap((item) => propertiesOf(item))),
    references: new Map([...referencesOf(subject), ...referencesOf(root), ...referencesOf(bom)]),
    isSigned,
  };
}

export function propertiesOf(item: Unknown): (readonly [string, string])[] {
  return listOf(item.properties).flatMap((property) => {
    const { name, value } = asObject(property) ?? {};
    return typeof name === "string" && typeof value === "string"
      ? [[name.replace(/^modelkeep:/, ""), value] as const]
      : [];
  });
}

function referencesOf(item: Unknown): (readonly [string, string])[] {
  return listOf(item.externalReferences).flatMap((reference) => {
    const { type, url } = asObject(reference) ?? {};
    return typeof type === "string" && typeof url === "string" ? [[type, url] as const] : [];
  });
}

export function hasAll(items: readonly Unknown[], has: (item: Unknown) => boolean): boolean {
  return items.length > 0 && items.every(has);
}

export function isHashed(item: Unknown): boolean {
  return listOf(item.hashes).some((hash) => textOf(asObject(hash)?.content) !== undefined);
}

/** The data of a component, as CycloneDX nests it. */
export function dataOf(item: Unknown): Unknown {
  return asObject(listOf(item.data)[0]) ?? {};
}

export function nameOf(value: unknown): string | undefined {
  return textOf(asObject(value)?.name) ?? textsOf(value)[0];
}
