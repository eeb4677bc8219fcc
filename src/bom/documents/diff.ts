/** What changed from one CycloneDX document to another: packages, files, data sets, weaknesses, the subject itself. */
import { asObject, listOf, textOf, type Unknown } from "../plain.ts";

export interface BomChange {
  readonly what: "package" | "file" | "data" | "component" | "weakness" | "subject";
  readonly name: string;
  /** Absent on one side: added or removed. */
  readonly before?: string;
  readonly after?: string;
}

interface Item {
  readonly what: BomChange["what"];
  readonly name: string;
  readonly value: string;
}

/** In order of kind and name. A package that is there in several versions is compared with all of them. */
export function diffBoms(before: Unknown, after: Unknown): BomChange[] {
  const [old, now] = [itemsOf(before), itemsOf(after)];
  const keys = [...new Set([...old.keys(), ...now.keys()])].sort();
  return keys.flatMap((key): BomChange[] => {
    const [a, b] = [old.get(key), now.get(key)];
    const either = a ?? b;
    if (!either || a?.value === b?.value) return [];
    return [
      { what: either.what, name: either.name, ...(a ? { before: a.value } : {}), ...(b ? { after: b.value } : {}) },
    ];
  });
}

function itemsOf(bom: Unknown): Map<string, Item> {
  const found = new Map<string, Item>();
  const add = (item: Item) => {
    const key = `${item.what}\n${item.name}`;
    const known = found.get(key);
    const values = new Set([...(known?.value.split(", ") ?? []), item.value]);
    found.set(key, { ...item, value: [...values].sort().join(", ") });
  };
  for (const item of listOf(bom.components)) add(itemOf(asObject(item) ?? {}));
  for (const item of subjectOf(asObject(asObject(bom.metadata)?.component) ?? {})) add(item);
  for (const item of listOf(bom.vulnerabilities)) {
    const entry = asObject(item) ?? {};
    const state = textOf(asObject(entry.analysis)?.state) ?? "stated";
    for (const affected of listOf(entry.affects))
      add({
        what: "weakness",
        name: `${textOf(entry.id) ?? ""} in ${textOf(asObject(affected)?.ref) ?? ""}`,
        value: state,
      });
  }
  return found;
}

function itemOf(component: Unknown): Item {
  const purl = textOf(component.purl);
  const name = textOf(component.name) ?? "";
  if (purl !== undefined)
    return {
      what: "package",
      name: purl.replace(/@[^/?#]*(?=[?#]|$)/, "").replace(/[?#].*$/, ""),
      value: textOf(component.version) ?? "any",
    };
  const kinds: Readonly<Record<string, BomChange["what"]>> = { file: "file", data: "data" };
  const hashes = listOf(component.hashes).flatMap((hash) => textOf(asObject(hash)?.content) ?? []);
  return {
    what: kinds[textOf(component.type) ?? ""] ?? "component",
    name,
    value: hashes[0] ?? textOf(component.version) ?? "there",
  };
}

/** Licence, lineage and the properties of the subject, by name. */
function subjectOf(subject: Unknown): Item[] {
  const row = (name: string, value: unknown): Item[] =>
    value === undefined
      ? []
      : [{ what: "subject", name, value: typeof value === "string" ? value : JSON.stringify(value) }];
  const ancestors = listOf(asObject(subject.pedigree)?.ancestors).flatMap((item) => textOf(asObject(item)?.name) ?? []);
  const properties = listOf(subject.properties).flatMap((item) => {
    const { name, value } = asObject(item) ?? {};
    return typeof name === "string" ? row(name, value) : [];
  });
  return [
    ...row("name", subject.name),
    ...row("version", subject.version),
    ...row("licenses", subject.licenses),
    ...row("modelCard", subject.modelCard),
    ...ancestors.flatMap((name) => row("ancestor", name)),
    ...properties,
  ];
}
