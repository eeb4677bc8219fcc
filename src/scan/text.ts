/** Scans text: JSON, templates, YAML with Python objects, Python sources, scripts. */
import type { ByteSource } from "../artifact/index.ts";
import { ModelkeepError, parseJson } from "../base/index.ts";
import type { Inspection } from "./inspection.ts";
import { scanJson } from "./json.ts";
import { SCAN_LIMITS } from "./limits.ts";
import { looksLikeTemplate, scanTemplate, scanTemplateCode } from "./template.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });

/** No NUL and no other control character of a binary format in the beginning, and no broken UTF-8 there. */
export function looksLikeText(source: ByteSource): boolean {
  const head = source.read(0, SCAN_LIMITS.textProbeBytes);
  if (head.some((byte) => byte < 0x09 || (byte > 0x0d && byte < 0x20 && byte !== 0x1b))) return false;
  return decode(head, head.length < source.bytes) !== undefined;
}

/** With `cut`, a character that is not complete at the end is forgiven. */
function decode(bytes: Uint8Array, cut: boolean): string | undefined {
  try {
    return cut ? new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true }) : decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

export function scanText(source: ByteSource, inspection: Inspection): void {
  if (source.bytes > SCAN_LIMITS.textBytes) {
    inspection.report("text-size", "unscannable", `a text of ${source.bytes} bytes`);
    return;
  }
  const bytes = source.read(0, source.bytes);
  const text = decode(bytes, false);
  if (text === undefined) inspection.report("text-encoding", "malformed", "the text is not UTF-8 throughout");
  else if (/^\s*(?:\{\s*["}]|\[)/.test(text)) scanJsonText(bytes, text, inspection);
  else scanPlain(text, inspection);
}

function scanJsonText(bytes: Uint8Array, text: string, inspection: Inspection): void {
  try {
    scanJson(parseJson(bytes, { maxBytes: SCAN_LIMITS.textBytes, maxDepth: SCAN_LIMITS.jsonDepth }), inspection);
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
    if (error.code === "LIMIT_EXCEEDED") inspection.report("json-limit", "unscannable", "the JSON is nested too deep");
    else scanAlmostJson(text, inspection);
  }
}

/**
 * JSON lines are fine. A key that stands twice is read differently by different loaders. What else begins like JSON and
 * is none is read as plain text, but not called clean.
 */
function scanAlmostJson(text: string, inspection: Inspection): void {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  if (lines.length > 1 && lines.every((line) => isJson(line, inspection))) return;
  const lenient = parseLenient(text);
  if (lenient !== undefined) {
    inspection.report("json-ambiguous", "suspicious", "a key of the JSON stands twice or is __proto__");
    scanJson(lenient, inspection);
  } else if (text.trimStart().startsWith("{")) {
    inspection.report("json-broken", "malformed", "begins like JSON, but is none");
  }
  scanPlain(text, inspection);
}

/** After the strict parser, which bounds the depth. */
function parseLenient(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isJson(line: string, inspection: Inspection): boolean {
  try {
    scanJson(parseJson(line, { maxBytes: SCAN_LIMITS.textBytes, maxDepth: SCAN_LIMITS.jsonDepth }), inspection);
    return true;
  } catch (error) {
    if (error instanceof ModelkeepError) return false;
    throw error;
  }
}

function scanPlain(text: string, inspection: Inspection): void {
  if (looksLikeTemplate(text)) {
    if (/^\s*\{[{%#]/.test(text)) scanTemplate(text, "the file", inspection);
    else scanTemplateCode(text, "the file", inspection);
  }
  scanYamlTags(text, inspection);
  if (/^\s*_target_\s*:/m.test(text)) {
    inspection.report("yaml-target", "suspicious", "YAML that names a callable to instantiate (_target_)");
  }
  if (text.startsWith("#!")) inspection.report("script", "suspicious", "a script that the system can execute");
  else if (/\.pyw?$/i.test(inspection.name)) {
    inspection.report("custom-code", "suspicious", "Python code that a loader may run with trust_remote_code");
  }
}

/** Tags may be written short, in full, with escapes, or behind a prefix that %TAG declares (YAML 1.2, 6.8.2, 6.9.1). */
function scanYamlTags(text: string, inspection: Inspection): void {
  const plain = /!\S{0,200}%/.test(text) ? text.replace(/%[0-9a-fA-F]{2}/g, unescapePercent) : text;
  if (/(?:!|tag:yaml\.org,2002:)python\/(?:object|name|module|apply|tuple)/.test(plain)) {
    inspection.report("yaml-python-object", "malicious", "YAML that builds Python objects");
  } else if (/^%TAG\s.*yaml\.org/m.test(plain)) {
    inspection.report("yaml-tag", "suspicious", "YAML that gives the tags of the language other names");
  }
}

function unescapePercent(escaped: string): string {
  return String.fromCharCode(Number.parseInt(escaped.slice(1), 16));
}
