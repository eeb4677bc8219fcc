/** Reads the packages out of a CycloneDX document that anybody may have written. */
import { ModelkeepError, parseJson } from "../base/index.ts";
import type { AdvisoryIndex } from "./advisories/index-file.ts";
import { bomError } from "./errors.ts";
import { BOM_LIMITS } from "./limits.ts";
import { isMatchableType, type PackageRef, packageOfPurl } from "./packages.ts";

const SAME_AS = "modelkeep:same_as";

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

/** Every component that advisories can speak of, however deep; fails with BOM_INVALID beyond the limits. */
export function packagesOf(bom: Unknown): PackageRef[] {
  return [...componentsOf(bom)].flatMap((component) => packageOf(component) ?? []);
}

/** Packages that nothing can be said of, so that no match means nothing. */
export interface UnmatchedPackages {
  /** Type of their package URLs: `conda`, `gem`. */
  readonly type: string;
  readonly count: number;
  readonly why:
    | "no advisory source"
    | "no version"
    | "no release of the distribution"
    | "no advisories of it were imported";
}

/** By type and reason, in order, also what the index has nothing of; fails with BOM_INVALID beyond the limits. */
export function unmatchedOf(bom: Unknown, index?: Pick<AdvisoryIndex, "covers">): UnmatchedPackages[] {
  const found = new Map<string, UnmatchedPackages>();
  for (const component of componentsOf(bom)) {
    const why = whyUnmatched(component, index);
    const type = /^pkg:([a-z0-9.+-]{1,40})\//.exec(String(component.purl))?.[1];
    if (why === undefined || type === undefined) continue;
    const key = `${type} ${why}`;
    found.set(key, { type, why, count: (found.get(key)?.count ?? 0) + 1 });
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
}

/** `12 conda packages (no advisory source), 3 pypi packages (no version)`; empty when everything can be matched. */
export function unmatchedText(unmatched: readonly UnmatchedPackages[]): string {
  return unmatched.map(({ type, count, why }) => `${count} ${type} packages (${why})`).join(", ");
}

/** Models and data are no libraries: nobody publishes advisories of them. */
function whyUnmatched(
  component: Unknown,
  index: Pick<AdvisoryIndex, "covers"> | undefined,
): UnmatchedPackages["why"] | undefined {
  if (typeof component.purl !== "string" || component.type === "machine-learning-model" || component.type === "data")
    return undefined;
  const found = packageOf(component);
  if (found && /:v?$/.test(found.ecosystem)) return "no release of the distribution";
  if (found) return index?.covers(found.ecosystem) === false ? "no advisories of it were imported" : undefined;
  return isMatchableType(component.purl) ? "no version" : "no advisory source";
}

/** A package of another ecosystem may say which one of PyPI it is, as locks of pixi do for conda's. */
function packageOf(component: Unknown): PackageRef | undefined {
  const { purl } = component;
  if (typeof purl !== "string") return undefined;
  const found = packageOfPurl(purl);
  if (found) return found;
  const same = listOf(component.properties)
    .map(asObject)
    .find((property) => property?.name === SAME_AS);
  const other = typeof same?.value === "string" ? packageOfPurl(same.value) : undefined;
  return other && { ...other, purl };
}

function* componentsOf(bom: Unknown): Generator<Unknown> {
  const open = [{ components: [asObject(bom.metadata)?.component, ...listOf(bom.components)], depth: 0 }];
  let seen = 0;
  for (let level = open.pop(); level !== undefined; level = open.pop()) {
    if (level.depth > BOM_LIMITS.bomNesting)
      throw bomError("BOM_INVALID", { detail: "components are nested too deep" });
    for (const item of level.components) {
      const component = asObject(item) ?? {};
      if (++seen > BOM_LIMITS.components) throw bomError("BOM_INVALID", { detail: "too many components" });
      yield component;
      const inner = listOf(component.components);
      if (inner.length > 0) open.push({ components: [...inner], depth: level.depth + 1 });
    }
  }
}

function asObject(value: unknown): Unknown | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Unknown) : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
