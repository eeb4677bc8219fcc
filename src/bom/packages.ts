/** A package of an ecosystem: names, versions and purls as advisories compare them. */
import { PackageURL } from "packageurl-js";
import { bomError } from "./errors.ts";
import { BOM_LIMITS } from "./limits.ts";

export type Ecosystem = "PyPI" | "npm";

export interface PackageRef {
  readonly ecosystem: Ecosystem;
  /** Normalised: PEP 503 for PyPI, as written for npm. */
  readonly name: string;
  readonly version: string;
}

const PURL_TYPES: Readonly<Record<string, Ecosystem>> = { pypi: "PyPI", npm: "npm" };

/** PEP 503 for PyPI; npm names are compared as they are. */
export function normaliseName(ecosystem: string, name: string): string {
  return ecosystem === "PyPI" ? name.replace(/[-_.]+/g, "-").toLowerCase() : name;
}

/** `pypi:torch@2.6.0`, `npm:@scope/name@1.0.0`, or a purl; fails with PACKAGE_INVALID. */
export function parsePackage(text: string): PackageRef {
  const found = text.startsWith("pkg:") ? packageOfPurl(text) : readShort(text);
  if (!found) throw bomError("PACKAGE_INVALID", { detail: text.slice(0, 120) });
  return found;
}

function readShort(text: string): PackageRef | undefined {
  const match = /^(pypi|npm):((?:@[^@/\s]+\/)?[^@/\s]+)@([^@\s]+)$/i.exec(text);
  const ecosystem = PURL_TYPES[match?.[1]?.toLowerCase() ?? ""];
  return ecosystem && match?.[2] && match[3] ? checked(ecosystem, match[2], match[3]) : undefined;
}

/** Undefined for purls of other types, without a version, or broken ones. */
export function packageOfPurl(text: string): PackageRef | undefined {
  try {
    const purl = PackageURL.fromString(text);
    const ecosystem = PURL_TYPES[purl.type];
    if (!ecosystem || !purl.name || !purl.version) return undefined;
    return checked(ecosystem, purl.namespace ? `${purl.namespace}/${purl.name}` : purl.name, purl.version);
  } catch {
    return undefined;
  }
}

function checked(ecosystem: Ecosystem, name: string, version: string): PackageRef | undefined {
  const fits = name.length <= BOM_LIMITS.nameCharacters && version.length <= BOM_LIMITS.versionCharacters;
  return fits ? { ecosystem, name: normaliseName(ecosystem, name), version } : undefined;
}

export function purlOf(ecosystem: Ecosystem, name: string, version: string | undefined): string {
  const slash = ecosystem === "npm" ? name.lastIndexOf("/") : -1;
  const namespace = slash > 0 ? name.slice(0, slash) : undefined;
  const type = ecosystem === "npm" ? "npm" : "pypi";
  return new PackageURL(type, namespace, name.slice(slash + 1), version, undefined, undefined).toString();
}
