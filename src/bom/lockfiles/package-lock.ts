/** Reads package-lock.json, versions 1 to 3 (npm, "package-lock.json"). */
import { asObject, parseJsonLock, type Unknown } from "../plain.ts";
import type { Library } from "./component.ts";
import { readIntegrity } from "./integrity.ts";

/** Links and the project itself are left out. Throws LOCKFILE_INVALID. */
export function readPackageLock(text: string, path: string): Library[] {
  const document = parseJsonLock(text, path);
  const packages = asObject(document.packages);
  return packages ? readPackages(packages) : readTree(document);
}

function readPackages(packages: Unknown): Library[] {
  return Object.entries(packages).flatMap(([place, value]) => {
    const entry = asObject(value);
    const at = place.lastIndexOf("node_modules/");
    if (at === -1 || !entry || entry.link === true) return [];
    const name = typeof entry.name === "string" ? entry.name : place.slice(at + "node_modules/".length);
    return toLibrary(name, entry, Object.keys(asObject(entry.dependencies) ?? {}));
  });
}

/** Version 1 nests what is nested on the disk. */
function readTree(document: Unknown): Library[] {
  const libraries: Library[] = [];
  const open = [asObject(document.dependencies) ?? {}];
  for (let level = open.pop(); level !== undefined; level = open.pop()) {
    for (const [name, value] of Object.entries(level)) {
      const entry = asObject(value) ?? {};
      libraries.push(...toLibrary(name, entry, Object.keys(asObject(entry.requires) ?? {})));
      const inner = asObject(entry.dependencies);
      if (inner) open.push(inner);
    }
  }
  return libraries;
}

function toLibrary(name: string, entry: Unknown, needs: readonly string[]): Library[] {
  const { version } = entry;
  return typeof version === "string"
    ? [{ ecosystem: "npm", name, version, hashes: readIntegrity(entry.integrity), needs }]
    : [];
}
