/** What policy may look at of a model's bill of materials. */
import { type JsonObject, scoreBom } from "../bom/index.ts";
import type { BomAttributes } from "../contract/index.ts";

const MAX_LICENSES = 20;

/** The statement was verified: whatever it holds is the signer's word, and of any shape. */
export function bomAttributes(bom: unknown): BomAttributes {
  const document = asObject(bom);
  const component = asObject(asObject(document.metadata).component);
  const licenses = listOf(component.licenses).flatMap((item) => {
    const entry = asObject(item);
    const { id, name } = asObject(entry.license);
    return [id, name, entry.expression].filter((text): text is string => typeof text === "string").slice(0, 1);
  });
  const custom = listOf(component.properties).some((item) => asObject(item).name === "modelkeep:custom_code");
  return {
    score: scoreBom(document, true).percent,
    licenses: [...new Set(licenses.map((text) => text.slice(0, 200)))].slice(0, MAX_LICENSES),
    custom_code: custom,
  };
}

function asObject(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
