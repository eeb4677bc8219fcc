/** Reads what the README of a model says in its front matter (Hugging Face model card, YAML). */
import { parse } from "yaml";
import { BOM_LIMITS } from "../limits.ts";

export interface ModelCardFacts {
  readonly license?: string;
  readonly licenseName?: string;
  readonly licenseLink?: string;
  readonly task?: string;
  readonly library?: string;
  readonly baseModels: readonly string[];
  /** finetune, quantized, adapter or merge. */
  readonly baseRelation?: string;
  readonly datasets: readonly string[];
  readonly languages: readonly string[];
  readonly tags: readonly string[];
  readonly metrics: readonly { readonly type: string; readonly value: string; readonly slice: string }[];
  /** First paragraph of the text under the front matter. */
  readonly description?: string;
  /** The front matter is there but cannot be read. */
  readonly broken: boolean;
}

type Unknown = Readonly<Record<string, unknown>>;

const FRONT_MATTER = /^---\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/;

/** Never throws: a card that cannot be read says so in `broken`. */
export function readModelCard(text: string): ModelCardFacts {
  const head = text.slice(0, BOM_LIMITS.frontMatterBytes);
  const match = FRONT_MATTER.exec(head.replace(/^\ufeff/, ""));
  const front = match ? parseFront(match[1] ?? "") : {};
  const facts = front ?? {};
  return {
    ...optional("license", textOf(first(facts.license))),
    ...optional("licenseName", textOf(facts.license_name)),
    ...optional("licenseLink", textOf(facts.license_link)),
    ...optional("task", textOf(facts.pipeline_tag)),
    ...optional("library", textOf(facts.library_name)),
    ...optional("baseRelation", textOf(facts.base_model_relation)),
    ...optional(
      "description",
      firstParagraph(text.slice(match?.[0].length ?? 0).slice(0, BOM_LIMITS.introductionCharacters)),
    ),
    baseModels: textsOf(facts.base_model),
    datasets: textsOf(facts.datasets),
    languages: textsOf(facts.language),
    tags: textsOf(facts.tags),
    metrics: readMetrics(facts["model-index"]),
    broken: front === undefined,
  };
}

/** No aliases, so that a small text cannot become a large document; undefined when it is no mapping. */
function parseFront(text: string): Unknown | undefined {
  try {
    const value: unknown = parse(text, { maxAliasCount: 0, logLevel: "error", prettyErrors: false });
    if (value === null) return {};
    return asObject(value);
  } catch {
    return undefined;
  }
}

function readMetrics(index: unknown): { type: string; value: string; slice: string }[] {
  const results = listOf(index).flatMap((model) => listOf(asObject(model)?.results));
  return results.slice(0, BOM_LIMITS.frontMatterItems).flatMap((result) => {
    const slice = textOf(asObject(asObject(result)?.dataset)?.name) ?? "";
    return listOf(asObject(result)?.metrics).flatMap((metric) => {
      const { type, value } = asObject(metric) ?? {};
      const number = typeof value === "number" ? String(value) : textOf(value);
      return typeof type === "string" && number !== undefined ? [{ type: clip(type), value: number, slice }] : [];
    });
  });
}

function firstParagraph(body: string): string | undefined {
  const paragraph = body
    .split(/\r?\n\s*\r?\n/, 50)
    .map((part) => part.trim())
    .find((part) => part !== "" && !/^[#<|!`[-]/.test(part));
  return paragraph === undefined ? undefined : clip(paragraph.replace(/\s+/g, " "));
}

function optional<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: string });
}

function asObject(value: unknown): Unknown | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Unknown) : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value.slice(0, BOM_LIMITS.frontMatterItems) : [];
}

function first(value: unknown): unknown {
  return Array.isArray(value) ? value[0] : value;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() !== "" ? clip(value.trim()) : undefined;
}

/** One text or a list of them. */
function textsOf(value: unknown): string[] {
  const items = Array.isArray(value) ? listOf(value) : [value];
  return [...new Set(items.flatMap((item) => textOf(item) ?? []))];
}

function clip(text: string): string {
  return text.length > BOM_LIMITS.textCharacters ? `${text.slice(0, BOM_LIMITS.textCharacters - 1)}…` : text;
}
