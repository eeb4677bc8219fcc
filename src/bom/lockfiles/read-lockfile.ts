/** Reads one lockfile, whichever kind its name says, and what it includes. */
import { basename, dirname, relative, resolve } from "node:path";
import { readFileBounded } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import type { Library, LockfileReader } from "./component.ts";
import { readCondaEnvironment, readCondaExplicit, readCondaLock, readPixiLock } from "./conda.ts";
import { readPackageLock } from "./package-lock.ts";
import { readPipfileLock } from "./pipfile.ts";
import { readPnpmLock } from "./pnpm-lock.ts";
import { parseRequirements } from "./requirements.ts";
import { readTomlLock } from "./toml-locks.ts";
import { readYarnLock } from "./yarn-lock.ts";

const READERS: readonly (readonly [RegExp, LockfileReader])[] = [
  [/^(?:uv|poetry|pdm)\.lock$/, readTomlLock],
  [/^pylock(?:\.[^.]+)?\.toml$/, readTomlLock],
  [/^(?:package-lock|npm-shrinkwrap)\.json$/, readPackageLock],
  [/^Pipfile\.lock$/, readPipfileLock],
  [/^pnpm-lock\.ya?ml$/, readPnpmLock],
  [/^yarn\.lock$/, readYarnLock],
  [/^pixi\.lock$/, readPixiLock],
  [/^environment\.ya?ml$/, readCondaEnvironment],
  [/(?:^|[.-])conda-lock\.ya?ml$/, readCondaLock],
  [/^conda-[\w-]+\.lock$/, readCondaExplicit],
];

const REQUIREMENTS = /^[\w.-]*requirements[\w.-]*\.(?:txt|in)$|^constraints[\w.-]*\.txt$/;

export function isLockfile(path: string): boolean {
  const name = basename(path);
  return REQUIREMENTS.test(name) || READERS.some(([pattern]) => pattern.test(name));
}

/**
 * Libraries in order of the file; `folder` is where its includes may lie, without it the file's own.
 * Fails with LOCKFILE_UNKNOWN, LOCKFILE_INVALID, FILE_NOT_FOUND, LIMIT_EXCEEDED.
 */
export async function readLockfile(path: string, folder: string = dirname(path)): Promise<readonly Library[]> {
  const reader = READERS.find(([pattern]) => pattern.test(basename(path)))?.[1];
  if (!reader && !/\.(?:txt|in)$/.test(path)) throw bomError("LOCKFILE_UNKNOWN", { detail: basename(path) });
  const libraries = reader
    ? reader(await readText(path), basename(path))
    : await readRequirements(path, resolve(folder));
  if (libraries.length > BOM_LIMITS.components)
    throw bomError("LOCKFILE_INVALID", { detail: `over ${BOM_LIMITS.components} libraries` });
  return libraries;
}

async function readText(path: string): Promise<string> {
  return Buffer.from(await readFileBounded(path, BOM_LIMITS.lockfileBytes)).toString("utf8");
}

/** Includes are followed inside the folder only, each file once: a circle ends. */
async function readRequirements(first: string, folder: string): Promise<Library[]> {
  const open = [resolve(first)];
  const seen = new Set<string>();
  const libraries: Library[] = [];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    if (seen.size > BOM_LIMITS.includedFiles)
      throw bomError("LOCKFILE_INVALID", { detail: `${basename(first)} includes too many files` });
    const { libraries: own, includes } = parseRequirements(await readText(path));
    libraries.push(...own);
    for (const include of includes) open.push(checkInclude(folder, resolve(dirname(path), include), include));
  }
  return libraries;
}

function checkInclude(folder: string, path: string, written: string): string {
  const inside = relative(folder, path);
  if (inside === "" || inside.startsWith("..") || written.includes("://")) {
    throw bomError("LOCKFILE_INVALID", {
      detail: `${written.slice(0, 120)} lies outside the folder of the requirements`,
    });
  }
  return path;
}
