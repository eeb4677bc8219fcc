/** Scans JSON: templates in any text, custom code of Hugging Face, Keras layers that carry code, skops types. */
import { type Inspection, shorten } from "./inspection.ts";
import { SCAN_LIMITS } from "./limits.ts";
import { judgeGlobal } from "./pickle/callables.ts";
import { looksLikeTemplate, scanTemplate } from "./template.ts";

type JsonObject = Readonly<Record<string, unknown>>;

/** Walks a parsed document without recursion; `source` names it in messages. */
export function scanJson(document: unknown, inspection: Inspection): void {
  const open: { value: unknown; key: string; depth: number }[] = [{ value: document, key: "the document", depth: 0 }];
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    const { value, key, depth } = item;
    if (typeof value === "string") scanText(value, key, inspection);
    if (typeof value !== "object" || value === null) continue;
    if (depth > SCAN_LIMITS.jsonDepth) {
      inspection.report("json-depth", "unscannable", `nested deeper than ${SCAN_LIMITS.jsonDepth} levels`);
      continue;
    }
    if (!Array.isArray(value)) scanObject(value as JsonObject, inspection);
    for (const [name, inner] of Object.entries(value)) {
      open.push({ value: inner, key: Array.isArray(value) ? key : name, depth: depth + 1 });
    }
  }
}

function scanText(text: string, key: string, inspection: Inspection): void {
  if (looksLikeTemplate(text)) scanTemplate(text, shorten(key), inspection);
}

function scanObject(object: JsonObject, inspection: Inspection): void {
  for (const key of ["auto_map", "custom_generate", "custom_pipelines"]) {
    if (object[key] !== undefined && object[key] !== null) {
      inspection.report("custom-code", "suspicious", `${key} names code that is run with trust_remote_code`);
    }
  }
  scanKeras(object, inspection);
  scanSkops(object, inspection);
}

function scanKeras(object: JsonObject, inspection: Inspection): void {
  const { class_name: className, module, config } = object;
  if (typeof className !== "string" || config === undefined) return;
  if (className === "Lambda" || className === "__lambda__") {
    inspection.report("keras-lambda", "malicious", "a Lambda layer carries Python code");
  }
  if (typeof module === "string" && !/^(?:keras|tf_keras|tensorflow\.keras|builtins)(?:\.|$)/.test(module)) {
    const dangerous = judgeGlobal(module, className) === "dangerous";
    const message = `a layer is ${shorten(`${module}.${className}`)}, which is not part of Keras`;
    inspection.report("keras-foreign-class", dangerous ? "malicious" : "suspicious", message);
  }
}

function scanSkops(object: JsonObject, inspection: Inspection): void {
  const { __module__: module, __class__: name } = object;
  if (typeof module !== "string" || typeof name !== "string") return;
  if (
    judgeGlobal(module, name) === "dangerous" &&
    !(module === "builtins" || HARMLESS_SKOPS.has(`${module}.${name}`))
  ) {
    inspection.report("skops-dangerous-type", "malicious", `names the type ${shorten(`${module}.${name}`)}`);
  }
}

/** Types of the standard library that skops itself trusts. */
const HARMLESS_SKOPS = new Set(["functools.partial", "types.FunctionType"]);
