/** Reads VEX of any of the three formats, by what the document says it is. */
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, textOf, type Unknown } from "../plain.ts";
import { readCsaf } from "./csaf.ts";
import { readCycloneDxVex } from "./cyclonedx-vex.ts";
import { readOpenVex } from "./openvex.ts";
import type { VexDocument } from "./statement.ts";

/** Fails with VEX_INVALID. Nothing is verified: who may say this is for the caller to know. */
export function readVex(bytes: Uint8Array): VexDocument {
  return readVexOf(parse(bytes));
}

/** Of a document that was parsed before. Fails with VEX_INVALID. */
export function readVexOf(parsed: unknown): VexDocument {
  const document = asObject(parsed) ?? {};
  if (textOf(document["@context"])?.startsWith("https://openvex.dev/ns")) return readOpenVex(document);
  if (document.bomFormat === "CycloneDX") return readCycloneDxVex(document);
  if (textOf(asObject(document.document)?.csaf_version)?.startsWith("2.")) return readCsaf(document);
  throw bomError("VEX_INVALID", { detail: "neither OpenVEX nor CycloneDX nor CSAF" });
}

function parse(bytes: Uint8Array): Unknown {
  try {
    return asObject(parseJson(bytes, { maxBytes: BOM_LIMITS.bomBytes, maxDepth: BOM_LIMITS.bomDepth })) ?? {};
  } catch (error) {
    if (error instanceof ModelkeepError) throw bomError("VEX_INVALID", { detail: error.message, cause: error });
    throw error;
  }
}
