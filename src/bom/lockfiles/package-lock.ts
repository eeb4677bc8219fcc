/** Reads package-lock.json, versions 1 to 3 (npm, "package-lock.json"). */
import { fromBase64, ModelkeepError, parseJson, toHex } from "../../base/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import type { Library, LibraryHash } from "./component.ts";

type Entry = Readonly<Record<string, unknown>>;

const ALGORITHMS = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" } as const;

/** Links and the project itself are left out. Throws LOCKFILE_INVALID. */
export function readPackageLock(text: string, path: string): Library[] {
  const document = parse(text, path);
  const packages = asEntry(document.packages);
  return packages ? readPackages(packages) : readTree(document);
}

function parse(text: string, path: string): Entry {
  try {
    const limits = { maxBytes: BOM_LIMITS.lockfileBytes, maxDepth: BOM_LIMITS.lockfileDepth, what: path };
    return asEntry(parseJson(text, limits)) ?? {};
  } catch (error) {
    if (error instanceof ModelkeepError) throw bomError("LOCKFILE_INVALID", { detail: error.message, cause: error });
    throw error;
  }
}

function readPackages(packages: Entry): Library[] {
  return Object.entries(packages).flatMap(([place, value]) => {
    const entry = asEntry(value);
    const at = place.lastIndexOf("node_modules/");
    if (at === -1 || !entry || entry.link === true) return [];
    const name = typeof entry.name === "string" ? entry.name : place.slice(at + "node_modules/".length);
    return toLibrary(name, entry, Object.keys(asEntry(entry.dependencies) ?? {}));
  });
}

/** Version 1 nests what is nested on the disk. */
function readTree(document: Entry): Library[] {
  const libraries: Library[] = [];
  const open = [asEntry(document.dependencies) ?? {}];
  for (let level = open.pop(); level !== undefined; level = open.pop()) {
    for (const [name, value] of Object.entries(level)) {
      const entry = asEntry(value) ?? {};
      libraries.push(...toLibrary(name, entry, Object.keys(asEntry(entry.requires) ?? {})));
      const inner = asEntry(entry.dependencies);
      if (inner) open.push(inner);
    }
  }
  return libraries;
}

function toLibrary(name: string, entry: Entry, needs: readonly string[]): Library[] {
  const { version } = entry;
  return typeof version === "string"
    ? [{ ecosystem: "npm", name, version, hashes: readIntegrity(entry.integrity), needs }]
    : [];
}

/** Subresource integrity: `sha512-BASE64`. */
function readIntegrity(value: unknown): LibraryHash[] {
  const match = typeof value === "string" ? /^(sha256|sha384|sha512)-([A-Za-z0-9+/=]+)$/.exec(value.trim()) : null;
  const bytes = match?.[2] ? fromBase64(match[2]) : undefined;
  if (!match || !bytes) return [];
  return [{ algorithm: ALGORITHMS[match[1] as keyof typeof ALGORITHMS], hex: toHex(bytes) }];
}

function asEntry(value: unknown): Entry | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Entry) : undefined;
}
