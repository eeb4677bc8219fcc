/** Reads what strangers wrote as plain data: JSON and YAML to objects, lists and texts, within the limits. */
import { parse } from "yaml";
import { ModelkeepError, parseJson } from "../base/index.ts";
import { bomError } from "./errors.ts";
import { BOM_LIMITS } from "./limits.ts";

export type Unknown = Readonly<Record<string, unknown>>;

export function asObject(value: unknown): Unknown | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Unknown) : undefined;
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function textsOf(value: unknown): string[] {
  return listOf(value).filter((item): item is string => typeof item === "string" && item !== "");
}

/** Entries whose values are objects. */
export function objectsOf(value: unknown): (readonly [string, Unknown])[] {
  return Object.entries(asObject(value) ?? {}).flatMap(([key, item]) => {
    const object = asObject(item);
    return object ? [[key, object] as const] : [];
  });
}

/** Throws LOCKFILE_INVALID. */
export function parseJsonLock(text: string, path: string): Unknown {
  try {
    const limits = { maxBytes: BOM_LIMITS.lockfileBytes, maxDepth: BOM_LIMITS.lockfileDepth, what: path };
    return asObject(parseJson(text, limits)) ?? {};
  } catch (error) {
    if (error instanceof ModelkeepError) throw bomError("LOCKFILE_INVALID", { detail: error.message, cause: error });
    throw error;
  }
}

/** No aliases, so that a small text cannot become a large document. Throws LOCKFILE_INVALID. */
export function parseYamlLock(text: string, path: string): Unknown {
  if (text.length > BOM_LIMITS.yamlBytes)
    throw bomError("LOCKFILE_INVALID", { detail: `${path}: over ${BOM_LIMITS.yamlBytes} bytes of YAML` });
  if (isTooDeep(text)) throw bomError("LOCKFILE_INVALID", { detail: `${path}: nested too deep` });
  try {
    const options = { maxAliasCount: 0, logLevel: "error", prettyErrors: false, schema: "failsafe" } as const;
    return asObject(parse(text, options)) ?? {};
  } catch (error) {
    throw bomError("LOCKFILE_INVALID", { detail: `${path}: not YAML`, cause: error });
  }
}

/** Before the parser sees it, which goes down by calling itself: brackets, dashes and indentation. */
function isTooDeep(text: string): boolean {
  let open = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x5b || code === 0x7b) {
      if (++open > BOM_LIMITS.lockfileDepth) return true;
    } else if (code === 0x5d || code === 0x7d) open = Math.max(0, open - 1);
    else if (code === 0x0a) open = 0;
  }
  const steps = 2 * BOM_LIMITS.lockfileDepth;
  return new RegExp(`^ {${steps}}|^[ \\t]*(?:[-?] +){${BOM_LIMITS.lockfileDepth}}`, "m").test(text);
}
