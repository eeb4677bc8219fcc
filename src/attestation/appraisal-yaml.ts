/** Files that people write: one YAML document under a schema, every problem with its line. */
import { type Document, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { fromUtf8, type ModelkeepError } from "../base/index.ts";
import { APPRAISAL_LIMITS } from "./appraisal-limits.ts";

/** YAML or JSON. Throws what `refuse` makes of the line, the field and the reason of every problem. */
export function readYaml<Schema extends z.ZodType>(
  file: Uint8Array,
  schema: Schema,
  refuse: (detail: string) => ModelkeepError,
): z.output<Schema> {
  const invalid = (problems: readonly string[]) => refuse(listOf(problems));
  if (file.length > APPRAISAL_LIMITS.profileBytes) throw invalid([`over ${APPRAISAL_LIMITS.profileBytes} bytes`]);
  const lines = new LineCounter();
  const text = textOf(file);
  if (text === undefined) throw invalid(["it is not UTF-8"]);
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const broken = [...document.errors, ...document.warnings].map(
    ({ pos: [start], message }) => `line ${lines.linePos(start).line}: ${message.split("\n")[0] ?? ""}`,
  );
  if (broken.length > 0) throw invalid(broken);
  const parsed = schema.safeParse(plainOf(document, invalid) ?? {});
  if (parsed.success) return parsed.data;
  throw invalid(parsed.error.issues.flatMap((issue) => problemsOf(document, lines, issue)));
}

function textOf(file: Uint8Array): string | undefined {
  try {
    return fromUtf8(file);
  } catch {
    return undefined;
  }
}

/** Aliases could make a small file large. */
function plainOf(document: Document, invalid: (problems: readonly string[]) => ModelkeepError): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    throw invalid([error instanceof Error ? error.message : "unreadable"]);
  }
}

function problemsOf(document: Document, lines: LineCounter, issue: z.core.$ZodIssue): string[] {
  const extra = issue.code === "unrecognized_keys" ? issue.keys : [];
  const places = extra.length > 0 ? extra.map((key) => [...issue.path, key]) : [issue.path];
  const message = extra.length > 0 ? "there is no such field" : issue.message;
  return places.map((path) => `line ${lineOf(document, lines, path)}: ${path.join(".") || "file"}: ${message}`);
}

/** Of the field, or of the nearest thing around it that is in the file. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length).map(String), true);
    const range = typeof node === "object" && node !== null && "range" in node ? node.range : undefined;
    if (Array.isArray(range) && typeof range[0] === "number") return lines.linePos(range[0]).line;
  }
  return 1;
}

function listOf(problems: readonly string[]): string {
  const shown = problems.slice(0, APPRAISAL_LIMITS.profileProblems);
  const more = problems.length > shown.length ? [`and ${problems.length - shown.length} more`] : [];
  return [...shown, ...more].join("; ");
}
