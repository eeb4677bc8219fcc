/** Reads the packages out of a CycloneDX document that anybody may have written. */
import { ModelkeepError, parseJson } from "../base/index.ts";
import { bomError } from "./errors.ts";
import { BOM_LIMITS } from "./limits.ts";
import { type PackageRef, packageOfPurl } from "./packages.ts";

type Unknown = Readonly<Record<string, unknown>>;

/** Parses and checks the outermost members; fails with BOM_INVALID. */
export function readBom(bytes: Uint8Array): Unknown {
  const document = parse(bytes);
  if (document.bomFormat !== "CycloneDX" || typeof document.specVersion !== "string") {
    throw bomError("BOM_INVALID", { detail: "bomFormat and specVersion are missing" });
  }
  return document;
}

function parse(bytes: Uint8Array): Unknown {
  try {
    const value = parseJson(bytes, { maxBytes: BOM_LIMITS.bomBytes, maxDepth: BOM_LIMITS.bomDepth });
    return asObject(value) ?? {};
  } catch (error) {
    if (error instanceof ModelkeepError) throw bomError("BOM_INVALID", { detail: error.message, cause: error });
    throw error;
  }
}

/** Every component with a purl of PyPI or npm, however deep; fails with BOM_INVALID beyond the limits. */
export function packagesOf(bom: Unknown): PackageRef[] {
  const packages: PackageRef[] = [];
  const open = [{ components: [asObject(bom.metadata)?.component, ...listOf(bom.components)], depth: 0 }];
  let seen = 0;
  for (let level = open.pop(); level !== undefined; level = open.pop()) {
    if (level.depth > BOM_LIMITS.bomNesting)
      throw bomError("BOM_INVALID", { detail: "components are nested too deep" });
    for (const item of level.components) {
      const component = asObject(item) ?? {};
      if (++seen > BOM_LIMITS.components) throw bomError("BOM_INVALID", { detail: "too many components" });
      const found = typeof component.purl === "string" ? packageOfPurl(component.purl) : undefined;
      if (found) packages.push(found);
      const inner = listOf(component.components);
      if (inner.length > 0) open.push({ components: [...inner], depth: level.depth + 1 });
    }
  }
  return packages;
}

function asObject(value: unknown): Unknown | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Unknown) : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
