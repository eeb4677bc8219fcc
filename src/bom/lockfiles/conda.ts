/** Reads what conda and pixi install: environment.yml, conda-lock.yml, explicit lists, pixi.lock. */
import { BOM_LIMITS } from "../limits.ts";
import { normaliseName, purlOf } from "../packages.ts";
import { asObject, listOf, parseYamlLock, textOf, textsOf, type Unknown } from "../plain.ts";
import type { Library, LibraryHash } from "./component.ts";
import { readSha256 } from "./integrity.ts";
import { parseRequirements } from "./requirements.ts";

/** `channel::name=version=build`, `name>=1`, and a list for pip. Throws LOCKFILE_INVALID. */
export function readCondaEnvironment(text: string, path: string): Library[] {
  return listOf(parseYamlLock(text, path).dependencies).flatMap((item) => {
    if (typeof item === "string") return readSpec(item);
    return parseRequirements(textsOf(asObject(item)?.pip).join("\n")).libraries;
  });
}

function readSpec(spec: string): Library[] {
  const [, name, asked = ""] = /^(?:[^\s:]+::)?([A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(.*)$/.exec(spec.trim()) ?? [];
  if (name === undefined) return [];
  const version = /^==?\s*([^\s=<>*,|]+)(?:=\S+)?$/.exec(asked)?.[1];
  const requirement = asked === "" ? "*" : asked;
  return [condaPackage(name, version === undefined ? { requirement } : { version }, [], [])];
}

/** conda-lock, version 1: packages of all platforms, some of them for pip. Throws LOCKFILE_INVALID. */
export function readCondaLock(text: string, path: string): Library[] {
  return listOf(parseYamlLock(text, path).package).flatMap((item) => {
    const { name, version, manager, hash, dependencies } = asObject(item) ?? {};
    if (typeof name !== "string" || typeof version !== "string") return [];
    const hashes = hashesOf(asObject(hash));
    const needs = Object.keys(asObject(dependencies) ?? {});
    return [
      manager === "pip" ? pipPackage(name, version, hashes, needs) : condaPackage(name, { version }, hashes, needs),
    ];
  });
}

/** `conda list --explicit`: a URL per line, with `#MD5` or `#sha256:HEX` behind it. */
export function readCondaExplicit(text: string): Library[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const [url = "", hash] = line.trim().split("#", 2);
    return packageOfUrl(url, hash === undefined ? [] : [...readSha256(hash), ...readMd5(hash)], []);
  });
}

/** Versions 4 to 6. Throws LOCKFILE_INVALID. */
export function readPixiLock(text: string, path: string): Library[] {
  return listOf(parseYamlLock(text, path).packages).flatMap((item) => {
    const entry = asObject(item) ?? {};
    const { name, version } = entry;
    const hashes = hashesOf(entry);
    const isPip = entry.kind === "pypi" || entry.pypi !== undefined;
    if (isPip) {
      const needs = textsOf(entry.requires_dist).flatMap((text) => /^[A-Za-z0-9._-]+/.exec(text)?.[0] ?? []);
      return typeof name === "string" && typeof version === "string" ? [pipPackage(name, version, hashes, needs)] : [];
    }
    const needs = textsOf(entry.depends).flatMap((text) => /^[A-Za-z0-9._-]+/.exec(text)?.[0] ?? []);
    const found =
      typeof name === "string" && typeof version === "string"
        ? [condaPackage(name, { version }, hashes, needs)]
        : packageOfUrl(textOf(entry.conda) ?? textOf(entry.url) ?? "", hashes, needs);
    return found.map((library) => withPurls(library, entry.purls));
  });
}

/** Only where the lock says so is a package of conda one of PyPI: their names alone say nothing. */
function withPurls(library: Library, purls: unknown): Library {
  const [, name] =
    textsOf(purls)
      .map((purl) => /^pkg:pypi\/([^@?#\s]+)/.exec(purl) ?? [])
      .find(([, it]) => it) ?? [];
  if (name === undefined || library.version === undefined) return library;
  const same = purlOf("PyPI", normaliseName("PyPI", name), library.version);
  return { ...library, facts: [...(library.facts ?? []), ["same_as", same]] };
}

/** The name of the file: `name-version-build`. */
export function packageOfUrl(url: string, hashes: readonly LibraryHash[], needs: readonly string[]): Library[] {
  const file = url.slice(url.lastIndexOf("/") + 1);
  if (file.length > BOM_LIMITS.textCharacters) return [];
  const [, name, version] = /^(\S+)-([^-\s]+)-[^-\s]+\.(?:conda|tar\.bz2)$/.exec(file) ?? [];
  return name === undefined || version === undefined ? [] : [condaPackage(name, { version }, hashes, needs)];
}

function hashesOf(table: Unknown | undefined): LibraryHash[] {
  const strong = readSha256(table?.sha256);
  return strong.length > 0 ? strong : readMd5(table?.md5);
}

function readMd5(value: unknown): LibraryHash[] {
  return typeof value === "string" && /^[0-9a-fA-F]{32}$/.test(value)
    ? [{ algorithm: "MD5", hex: value.toLowerCase() }]
    : [];
}

type Version = { readonly version: string } | { readonly requirement: string };

function condaPackage(
  name: string,
  version: Version,
  hashes: readonly LibraryHash[],
  needs: readonly string[],
): Library {
  return { ecosystem: "conda", name: name.toLowerCase(), ...version, hashes, needs };
}

function pipPackage(name: string, version: string, hashes: readonly LibraryHash[], needs: readonly string[]): Library {
  const normal = needs.map((need) => normaliseName("PyPI", need));
  return { ecosystem: "PyPI", name: normaliseName("PyPI", name), version, hashes, needs: normal };
}
