/** A small strict XML 1.0 reader with namespaces: no DOCTYPE, entity, instruction, comment or CDATA; names in ASCII. */
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";

export interface XmlName {
  /** As written, for example `ds:Signature`. */
  readonly qualified: string;
  readonly prefix: string;
  readonly local: string;
  /** URI; empty when the name is in no namespace. */
  readonly namespace: string;
}

export interface XmlAttribute extends XmlName {
  readonly value: string;
}

export interface XmlElement extends XmlName {
  /** Without declarations of namespaces. */
  readonly attributes: readonly XmlAttribute[];
  /** Declared here: prefix to URI; the default has the empty prefix. */
  readonly declarations: ReadonlyMap<string, string>;
  /** Elements, and text between them. */
  readonly children: readonly (XmlElement | string)[];
}

export const XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace";
const XMLNS_NAMESPACE = "http://www.w3.org/2000/xmlns/";

const DECLARATION =
  /<\?xml[ \t\n]+version="1\.0"(?:[ \t\n]+encoding="[Uu][Tt][Ff]-8")?(?:[ \t\n]+standalone="(?:yes|no)")?[ \t\n]*\?>/y;
const FORBIDDEN_CHARACTER = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/u;
const SPACE = /[ \t\n]*/y;
const NAME = /(?:([A-Za-z_][A-Za-z0-9._-]*):)?([A-Za-z_][A-Za-z0-9._-]*)(?!:)/y;
const TEXT = /[^<]*/y;
const VALUE = /"([^<"]*)"|'([^<']*)'/y;
const REFERENCE = /&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6}));|&/g;
const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The document element. Throws XML_INVALID with the place in characters. */
export function parseXml(bytes: Uint8Array): XmlElement {
  if (bytes.length > CODEC_LIMITS.xmlBytes) throw invalid(0, `over ${CODEC_LIMITS.xmlBytes} bytes`);
  const text = decode(bytes).replace(/\r\n?/g, "\n");
  const bad = text.search(FORBIDDEN_CHARACTER);
  if (bad !== -1) throw invalid(bad, "a character that XML cannot hold");
  return new XmlReader(text).readDocument();
}

function invalid(place: number, why: string) {
  return codecError("XML_INVALID", { detail: `at character ${place}: ${why}` });
}

function decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw codecError("XML_INVALID", { detail: "not UTF-8", cause });
  }
}

type Scope = ReadonlyMap<string, string>;
type RawName = Pick<XmlName, "qualified" | "prefix" | "local">;
type RawAttribute = RawName & { readonly value: string };

class XmlReader {
  readonly #text: string;
  #at = 0;
  #elementsLeft: number = CODEC_LIMITS.xmlElements;

  constructor(text: string) {
    this.#text = text;
  }

  readDocument(): XmlElement {
    this.#match(DECLARATION);
    this.#match(SPACE);
    const root = this.#readElement(new Map([["xml", XML_NAMESPACE]]), 1);
    this.#match(SPACE);
    if (this.#at !== this.#text.length) throw invalid(this.#at, "something after the document element");
    return root;
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match) this.#at = pattern.lastIndex;
    return match;
  }

  #take(literal: string): boolean {
    if (!this.#text.startsWith(literal, this.#at)) return false;
    this.#at += literal.length;
    return true;
  }

  #expect(literal: string): void {
    if (!this.#take(literal)) throw invalid(this.#at, `no ${literal}`);
  }

  #readName(): RawName {
    const match = this.#match(NAME);
    if (!match) throw invalid(this.#at, "no name in ASCII letters");
    return { qualified: match[0], prefix: match[1] ?? "", local: match[2] ?? "" };
  }

  #readElement(outer: Scope, depth: number): XmlElement {
    const place = this.#at;
    if (depth > CODEC_LIMITS.xmlDepth) throw invalid(place, `deeper than ${CODEC_LIMITS.xmlDepth}`);
    if (--this.#elementsLeft < 0) throw invalid(place, `over ${CODEC_LIMITS.xmlElements} elements`);
    this.#expect("<");
    const raw = this.#readName();
    const all = this.#readAttributes();
    const declarations = readDeclarations(all, place);
    const scope = declarations.size > 0 ? new Map([...outer, ...declarations]) : outer;
    if (scope.size > CODEC_LIMITS.xmlNamespaces) throw invalid(place, `over ${CODEC_LIMITS.xmlNamespaces} namespaces`);
    const attributes = all.filter((one) => !isDeclaration(one)).map((one) => qualifyAttribute(one, scope, place));
    refuseDuplicates(attributes, place);
    const name = { ...raw, namespace: resolve(raw.prefix, scope, place) };
    if (this.#take("/>")) return { ...name, attributes, declarations, children: [] };
    this.#expect(">");
    const children = this.#readChildren(scope, depth);
    this.#expect(`</${raw.qualified}`);
    this.#match(SPACE);
    this.#expect(">");
    return { ...name, attributes, declarations, children };
  }

  #readAttributes(): RawAttribute[] {
    const found: RawAttribute[] = [];
    for (;;) {
      const spaced = (this.#match(SPACE)?.[0].length ?? 0) > 0;
      const next = this.#text[this.#at];
      if (next === ">" || next === "/") return found;
      if (!spaced) throw invalid(this.#at, "no space before an attribute");
      if (found.length >= CODEC_LIMITS.xmlAttributes) throw invalid(this.#at, "too many attributes");
      const name = this.#readName();
      this.#match(SPACE);
      this.#expect("=");
      this.#match(SPACE);
      found.push({ ...name, value: this.#readValue() });
    }
  }

  /** White space that is written out becomes a space; what a reference says stays (XML 1.0, section 3.3.3). */
  #readValue(): string {
    const place = this.#at;
    const match = this.#match(VALUE);
    if (!match) throw invalid(place, "no attribute value");
    return expand((match[1] ?? match[2] ?? "").replace(/[\t\n]/g, " "), place);
  }

  #readChildren(scope: Scope, depth: number): (XmlElement | string)[] {
    const children: (XmlElement | string)[] = [];
    for (;;) {
      const place = this.#at;
      const text = this.#match(TEXT)?.[0] ?? "";
      if (text.includes("]]>")) throw invalid(place, "]]> in text");
      if (text !== "") children.push(expand(text, place));
      if (this.#text.startsWith("</", this.#at)) return children;
      children.push(this.#readElement(scope, depth + 1));
    }
  }
}

function expand(text: string, place: number): string {
  return text.replace(REFERENCE, (whole, entity?: string, decimal?: string, hex?: string) => {
    if (whole === "&") throw invalid(place, "an entity that is not one of the five");
    if (entity) return ENTITIES[entity] ?? "";
    const code = Number.parseInt(decimal ?? hex ?? "", decimal ? 10 : 16);
    const character = code <= 0x10ffff ? String.fromCodePoint(code) : "\0";
    if (FORBIDDEN_CHARACTER.test(character)) throw invalid(place, "a reference to no character");
    return character;
  });
}

const isDeclaration = ({ prefix, qualified }: RawName) => prefix === "xmlns" || qualified === "xmlns";

function readDeclarations(attributes: readonly RawAttribute[], place: number): Map<string, string> {
  const found = new Map<string, string>();
  for (const attribute of attributes.filter(isDeclaration)) {
    const prefix = attribute.prefix === "" ? "" : attribute.local;
    const { value } = attribute;
    if (found.has(prefix)) throw invalid(place, "a prefix declared twice");
    if (prefix === "xml" || prefix === "xmlns" || value === XML_NAMESPACE || value === XMLNS_NAMESPACE) {
      throw invalid(place, "a declaration of what is XML's own");
    }
    if (prefix !== "" && value === "") throw invalid(place, "a prefix declared as nothing");
    found.set(prefix, value);
  }
  return found;
}

function resolve(prefix: string, scope: Scope, place: number): string {
  const namespace = scope.get(prefix);
  if (namespace === undefined && prefix !== "") throw invalid(place, "a prefix that is not declared");
  return namespace ?? "";
}

function qualifyAttribute(attribute: RawAttribute, scope: Scope, place: number): XmlAttribute {
  return { ...attribute, namespace: attribute.prefix === "" ? "" : resolve(attribute.prefix, scope, place) };
}

function refuseDuplicates(attributes: readonly XmlAttribute[], place: number): void {
  const names = new Set(attributes.map(({ namespace, local }) => `${namespace} ${local}`));
  if (names.size !== attributes.length) throw invalid(place, "an attribute twice");
}

/** The elements among the children. */
export function childElements(element: XmlElement): XmlElement[] {
  return element.children.filter((child) => typeof child !== "string");
}

/** The text of an element that holds no other; undefined when it does. */
export function textOf(element: XmlElement): string | undefined {
  const texts = element.children.filter((child) => typeof child === "string");
  return texts.length === element.children.length ? texts.join("") : undefined;
}

/** The value of an attribute without a namespace, or of one in the given namespace. */
export function attributeOf(element: XmlElement, local: string, namespace = ""): string | undefined {
  return element.attributes.find((one) => one.local === local && one.namespace === namespace)?.value;
}
