/** A package of an ecosystem: names, versions and purls as advisories compare them. */
import { PackageURL } from "packageurl-js";
import { bomError } from "./errors.ts";
import { BOM_LIMITS } from "./limits.ts";

/** As OSV names them; distributions with their release, `Debian:12` or `Alpine:v3.20`. There are no advisories of conda. */
export type Ecosystem =
  | "PyPI"
  | "npm"
  | "Go"
  | "crates.io"
  | "Maven"
  | "conda"
  | `Debian:${string}`
  | `Alpine:${string}`;

export interface PackageRef {
  readonly ecosystem: Ecosystem;
  /** Normalised: PEP 503 for PyPI, as written for the others. */
  readonly name: string;
  readonly version: string;
  /** As a document has it, with what else it says. */
  readonly purl?: string;
  /** The source package that advisories of a distribution speak of, where it is another one. */
  readonly source?: { readonly name: string; readonly version: string };
}

const PURL_TYPES: Readonly<Record<string, Ecosystem>> = {
  pypi: "PyPI",
  npm: "npm",
  golang: "Go",
  cargo: "crates.io",
  maven: "Maven",
};

/** PEP 503 for PyPI; other names are compared as they are. */
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
    const ecosystem = PURL_TYPES[purl.type] ?? distributionOf(purl);
    if (!ecosystem || !purl.name || !purl.version) return undefined;
    const isFlat = purl.type === "deb" || purl.type === "apk" || !purl.namespace;
    const joint = purl.type === "maven" ? ":" : "/";
    const found = checked(ecosystem, isFlat ? purl.name : `${purl.namespace}${joint}${purl.name}`, purl.version);
    const source = sourceOf(purl);
    return found && { ...found, purl: text, ...(source ? { source } : {}) };
  } catch {
    return undefined;
  }
}

/** True for the types that advisories speak of, whatever else is missing. */
export function isMatchableType(purl: string): boolean {
  const [, type = ""] = /^pkg:([^/]{1,40})\//.exec(purl) ?? [];
  return Object.hasOwn(PURL_TYPES, type) || /^pkg:(?:deb\/debian|apk\/alpine)\//.test(purl);
}

/** `distro=debian-12` and `distro=alpine-3.20.1` (purl specification, types deb and apk). */
function distributionOf(purl: PackageURL): Ecosystem | undefined {
  const distro = purl.qualifiers?.distro ?? "";
  if (purl.type === "deb" && purl.namespace === "debian") return `Debian:${/^debian-(\d+)/.exec(distro)?.[1] ?? ""}`;
  if (purl.type === "apk" && purl.namespace === "alpine")
    return `Alpine:v${/^alpine-(\d+\.\d+)/.exec(distro)?.[1] ?? ""}`;
  return undefined;
}

/** `upstream=NAME` or `upstream=NAME@VERSION`, as other tools write it too. */
function sourceOf(purl: PackageURL): PackageRef["source"] {
  const upstream = purl.qualifiers?.upstream;
  if (!upstream || upstream.length > BOM_LIMITS.nameCharacters + BOM_LIMITS.versionCharacters) return undefined;
  const [name = "", version = purl.version ?? ""] = upstream.split("@");
  return { name, version };
}

function checked(ecosystem: Ecosystem, name: string, version: string): PackageRef | undefined {
  const fits = name.length <= BOM_LIMITS.nameCharacters && version.length <= BOM_LIMITS.versionCharacters;
  return fits ? { ecosystem, name: normaliseName(ecosystem, name), version } : undefined;
}

const TYPES_OF: Readonly<Record<string, string>> = {
  PyPI: "pypi",
  npm: "npm",
  Go: "golang",
  "crates.io": "cargo",
  Maven: "maven",
  conda: "conda",
};

export interface PurlDetails {
  readonly source?: { readonly name: string; readonly version: string };
  readonly architecture?: string;
}

export function purlOf(
  ecosystem: Ecosystem,
  name: string,
  version: string | undefined,
  details: PurlDetails = {},
): string {
  const [family = "", release = ""] = ecosystem.split(":", 2);
  const distribution = family === "Debian" ? "debian" : family === "Alpine" ? "alpine" : undefined;
  if (distribution) {
    const { source, architecture } = details;
    const upstream = source && `${source.name}${source.version === version ? "" : `@${source.version}`}`;
    const qualifiers = {
      ...(architecture === undefined ? {} : { arch: architecture }),
      ...(release === "" ? {} : { distro: `${distribution}-${release.replace(/^v/, "")}` }),
      ...(upstream === undefined || upstream === name ? {} : { upstream }),
    };
    const type = distribution === "debian" ? "deb" : "apk";
    return new PackageURL(type, distribution, name, version, qualifiers, undefined).toString();
  }
  const cut = family === "PyPI" || family === "conda" ? -1 : name.lastIndexOf(family === "Maven" ? ":" : "/");
  const namespace = cut > 0 ? name.slice(0, cut) : undefined;
  return new PackageURL(TYPES_OF[family] ?? "generic", namespace, name.slice(cut + 1), version).toString();
}
