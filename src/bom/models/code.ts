/** What a model brings that runs: Python named by `auto_map`, and chat templates. */
import { createHash } from "node:crypto";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, type Unknown } from "../plain.ts";

export interface ChatTemplate {
  /** The file, and the template's name behind a `#` where it has one. */
  readonly place: string;
  /** Of the template's text. */
  readonly sha256: string;
}

/** Files that are looked into. */
export const CONFIGURATIONS = [
  "config.json",
  "tokenizer_config.json",
  "processor_config.json",
  "preprocessor_config.json",
  "generation_config.json",
  "adapter_config.json",
] as const;

/** `module.Class` is module.py beside the configuration; `repository--module.Class` is code of another model. */
export function codeOf(configurations: readonly Unknown[]): {
  readonly files: string[];
  readonly repositories: string[];
} {
  const values = configurations.flatMap(({ auto_map: map }) => Object.values(asObject(map) ?? {}));
  const names = values
    .flatMap((value) => (Array.isArray(value) ? value : [value]))
    .slice(0, BOM_LIMITS.frontMatterItems);
  const files = new Set<string>();
  const repositories = new Set<string>();
  for (const name of names) {
    const [, repository, module] =
      typeof name === "string" && name.length <= 500 ? (/^(?:(.+)--)?([\w/.]+)\.\w+$/.exec(name) ?? []) : [];
    if (repository !== undefined) repositories.add(repository);
    else if (module !== undefined) files.add(`${module.replace(/\./g, "/")}.py`);
  }
  return { files: [...files].sort(), repositories: [...repositories].sort() };
}

/** `chat_template` of a tokenizer's configuration: one text, or a list of named ones. */
export function templatesOf(configuration: Unknown, place: string): ChatTemplate[] {
  const { chat_template: value } = configuration;
  if (typeof value === "string") return [templateOf(value, place)];
  return listOf(value)
    .slice(0, BOM_LIMITS.frontMatterItems)
    .flatMap((item) => {
      const { name, template } = asObject(item) ?? {};
      return typeof template === "string"
        ? [templateOf(template, `${place}#${typeof name === "string" ? name.slice(0, 100) : ""}`)]
        : [];
    });
}

export function templateOf(text: string, place: string): ChatTemplate {
  return { place, sha256: createHash("sha256").update(text).digest("hex") };
}

export function isTemplateFile(path: string): boolean {
  return /^(?:chat_template\.jinja|additional_chat_templates\/[^/]+\.jinja)$/.test(path);
}
