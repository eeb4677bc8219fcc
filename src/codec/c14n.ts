/** Canonical XML 1.0 and 1.1, and Exclusive Canonical XML 1.0, without comments: one element as the bytes that are signed. */
import { utf8 } from "../base/index.ts";
import { codecError } from "./errors.ts";
import { XML_NAMESPACE, type XmlAttribute, type XmlElement } from "./xml.ts";

export interface C14nOptions {
  /** 1.0 and 1.1 differ in xml:base and xml:id alone, which are refused here. */
  readonly method: "inclusive" | "exclusive";
  /** From the document element to the parent, when the element is not the document element. */
  readonly ancestors?: readonly XmlElement[];
  /** A child that is left out: the enveloped signature. */
  readonly omit?: XmlElement;
}

type Namespaces = ReadonlyMap<string, string>;

/** UTF-8. Throws XML_INVALID for xml:base and xml:id. */
export function canonicalizeXml(element: XmlElement, options: C14nOptions): Uint8Array {
  const ancestors = options.ancestors ?? [];
  const scope = ancestors.reduce<Namespaces>(declare, new Map());
  const inherited = options.method === "inclusive" ? inheritedAttributes(element, ancestors) : [];
  const out: string[] = [];
  write(out, { ...element, attributes: [...element.attributes, ...inherited] }, scope, new Map(), options);
  return utf8(out.join(""));
}

function declare(scope: Namespaces, element: XmlElement): Namespaces {
  return element.declarations.size > 0 ? new Map([...scope, ...element.declarations]) : scope;
}

/** xml:lang and xml:space of the nearest ancestor that has them (Canonical XML 1.1, section 2.4). */
function inheritedAttributes(element: XmlElement, ancestors: readonly XmlElement[]): XmlAttribute[] {
  const found = new Map<string, XmlAttribute>();
  for (const attribute of ancestors.flatMap(({ attributes }) => attributes)) {
    if (attribute.namespace === XML_NAMESPACE) found.set(attribute.local, attribute);
  }
  const own = new Set(element.attributes.flatMap((one) => (one.namespace === XML_NAMESPACE ? [one.local] : [])));
  return [...found.values()].filter(({ local }) => !own.has(local));
}

function write(
  out: string[],
  element: XmlElement,
  outer: Namespaces,
  rendered: Namespaces,
  { method, omit }: C14nOptions,
): void {
  const scope = declare(outer, element);
  const shown = namespacesToShow(element, scope, rendered, method);
  out.push("<", element.qualified);
  for (const [prefix, uri] of shown) out.push(prefix === "" ? " xmlns" : ` xmlns:${prefix}`, `="${escapeValue(uri)}"`);
  for (const { qualified, value } of sortAttributes(element)) out.push(" ", qualified, `="${escapeValue(value)}"`);
  out.push(">");
  const below = shown.length > 0 ? new Map([...rendered, ...shown]) : rendered;
  for (const child of element.children) {
    if (typeof child === "string") out.push(escapeText(child));
    else if (child !== omit) write(out, child, scope, below, { method, ...(omit ? { omit } : {}) });
  }
  out.push("</", element.qualified, ">");
}

/** Declarations that what was written above does not say already, by prefix. */
function namespacesToShow(
  element: XmlElement,
  scope: Namespaces,
  rendered: Namespaces,
  method: C14nOptions["method"],
): (readonly [string, string])[] {
  const prefixes = method === "inclusive" ? new Set([...scope.keys()]) : usedPrefixes(element);
  const wanted = [...prefixes]
    .filter((prefix) => prefix !== "xml")
    .map((prefix) => [prefix, scope.get(prefix) ?? ""] as const);
  return wanted.filter(([prefix, uri]) => (rendered.get(prefix) ?? "") !== uri).sort(([a], [b]) => compareText(a, b));
}

function usedPrefixes(element: XmlElement): Set<string> {
  const ofAttributes = element.attributes.map(({ prefix }) => prefix).filter((prefix) => prefix !== "");
  return new Set([element.prefix, ...ofAttributes]);
}

/** By namespace, then by local name; those in no namespace first (Canonical XML, section 2.2). */
function sortAttributes(element: XmlElement): XmlAttribute[] {
  for (const { namespace, qualified } of element.attributes) {
    const special = namespace === XML_NAMESPACE && qualified !== "xml:lang" && qualified !== "xml:space";
    if (special) throw codecError("XML_INVALID", { detail: `${qualified} has no canonical form here` });
  }
  return [...element.attributes].sort((a, b) => compareText(a.namespace, b.namespace) || compareText(a.local, b.local));
}

/** By code points, which UTF-8 keeps in order and UTF-16 does not. */
const compareText = (a: string, b: string) => (a === b ? 0 : Buffer.compare(utf8(a), utf8(b)));

const TEXT_ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;" };
const VALUE_ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  '"': "&quot;",
  "\t": "&#x9;",
  "\n": "&#xA;",
  "\r": "&#xD;",
};

const escapeText = (text: string) => text.replace(/[&<>\r]/g, (character) => TEXT_ESCAPES[character] ?? "");
const escapeValue = (text: string) => text.replace(/[&<"\t\n\r]/g, (character) => VALUE_ESCAPES[character] ?? "");
