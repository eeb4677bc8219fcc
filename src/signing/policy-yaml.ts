/** A YAML or JSON file read against a schema: every problem with its line, nothing executed, no aliases. */
import { type Document, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { fromUtf8, type ModelkeepError } from "../base/index.ts";
import { signingError } from "./errors.ts";
import { SIGNING_LIMITS } from "./limits.ts";

type Code = "SIGNER_POLICY_INVALID" | "DESCRIPTOR_INVALID";

/** Throws `code` with the line, the field and the reason of every problem. */
export function parseYamlFile<Schema extends z.ZodType>(
  file: Uint8Array,
  schema: Schema,
  code: Code,
): z.output<Schema> {
  if (file.length > SIGNING_LIMITS.policyBytes) throw invalid(code, [`it is over ${SIGNING_LIMITS.policyBytes} bytes`]);
  const lines = new LineCounter();
  const document = parseDocument(textOf(file, code), { lineCounter: lines, uniqueKeys: true, stringKeys: true });
  const broken = [...document.errors, ...document.warnings].map(
    ({ pos: [start], message }) => `line ${lines.linePos(start).line}: ${message.split("\n")[0] ?? ""}`,
  );
  if (broken.length > 0) throw invalid(code, broken);
  const parsed = schema.safeParse(plainOf(document, code) ?? {});
  if (parsed.success) return parsed.data;
  throw invalid(
    code,
    parsed.error.issues.flatMap((issue) => problemsOf(document, lines, issue)),
  );
}

function textOf(file: Uint8Array, code: Code): string {
  try {
    return fromUtf8(file);
  } catch {
    throw invalid(code, ["it is not UTF-8"]);
  }
}

/** Aliases could make a small file large. */
function plainOf(document: Document, code: Code): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    throw invalid(code, [error instanceof Error ? error.message : "unreadable"]);
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
    const keys = path.slice(0, length).map((part) => (typeof part === "number" ? part : String(part)));
    const node = document.getIn(keys, true);
    const range = typeof node === "object" && node !== null && "range" in node ? node.range : undefined;
    if (Array.isArray(range) && typeof range[0] === "number") return lines.linePos(range[0]).line;
  }
  return 1;
}

function invalid(code: Code, problems: readonly string[]): ModelkeepError {
  const shown = problems.slice(0, SIGNING_LIMITS.policyProblems);
  const more = problems.length > shown.length ? [`and ${problems.length - shown.length} more`] : [];
  return signingError(code, { detail: [...shown, ...more].join("; ") });
}
