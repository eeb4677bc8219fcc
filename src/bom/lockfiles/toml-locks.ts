/** Reads the TOML lockfiles of Python: uv.lock, poetry.lock, pdm.lock, pylock.toml (PEP 751). */
import { parse } from "smol-toml";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { normaliseName } from "../packages.ts";
import type { Library, LibraryHash } from "./component.ts";

type Table = Readonly<Record<string, unknown>>;

/** Throws LOCKFILE_INVALID for broken TOML; entries without a version are projects of the workspace and left out. */
export function readTomlLock(text: string, path: string): Library[] {
  const document = parseToml(text, path);
  return [...tables(document.package), ...tables(document.packages)].flatMap(readPackage);
}

function parseToml(text: string, path: string): Table {
  try {
    return parse(text, { maxDepth: BOM_LIMITS.lockfileDepth });
  } catch (error) {
    throw bomError("LOCKFILE_INVALID", { detail: `${path}: not TOML`, cause: error });
  }
}

function readPackage(table: Table): Library[] {
  const { name, version, source } = table;
  if (typeof name !== "string" || typeof version !== "string" || isOwn(source)) return [];
  const needs = namesOf(table.dependencies);
  return [{ ecosystem: "PyPI", name: normaliseName("PyPI", name), version, hashes: hashOf(table), needs }];
}

/** uv lists the project itself, which comes from no registry. */
function isOwn(source: unknown): boolean {
  return (
    typeof source === "object" && source !== null && ["virtual", "editable", "directory"].some((key) => key in source)
  );
}

/** uv and pylock: tables with a name; pdm: requirement texts; poetry: a table by name. */
function namesOf(value: unknown): string[] {
  const raw = Array.isArray(value) ? value.map(nameOf) : Object.keys(value ?? {});
  return raw.flatMap((name) => (name === undefined ? [] : [normaliseName("PyPI", name)]));
}

function nameOf(item: unknown): string | undefined {
  if (typeof item === "string") return /^[A-Za-z0-9][A-Za-z0-9._-]*/.exec(item)?.[0];
  const { name } = (item ?? {}) as { name?: unknown };
  return typeof name === "string" ? name : undefined;
}

/** The source distribution's hash, or that of the only file. */
function hashOf(table: Table): LibraryHash[] {
  const { sdist, wheels, files } = table;
  const listed = [...tables(wheels), ...tables(files)];
  const found = tables([sdist]).concat(listed.length === 1 ? listed : []);
  return found.slice(0, 1).flatMap((file) => {
    const hashes = file.hash ?? (file.hashes as Table | undefined)?.sha256;
    const hex = typeof hashes === "string" ? /^(?:sha256:)?([0-9a-f]{64})$/.exec(hashes)?.[1] : undefined;
    return hex ? [{ algorithm: "SHA-256" as const, hex }] : [];
  });
}

function tables(value: unknown): Table[] {
  return Array.isArray(value) ? value.filter((item): item is Table => typeof item === "object" && item !== null) : [];
}
