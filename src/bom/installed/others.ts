/** Installed packages of npm (node_modules) and conda (conda-meta). */
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { BOM_LIMITS } from "../limits.ts";
import type { Library } from "../lockfiles/component.ts";
import { packageOfUrl } from "../lockfiles/conda.ts";
import { readSha256 } from "../lockfiles/integrity.ts";
import { asObject, textOf, textsOf, type Unknown } from "../plain.ts";
import type { InstalledTree } from "./tree.ts";

/** What cannot be read is no package. */
export async function readNodeModules(tree: InstalledTree): Promise<Library[]> {
  const libraries: Library[] = [];
  for (const path of tree.paths.filter((place) => place.endsWith("/package.json"))) {
    const entry = await readObject(tree, path);
    const [name, version] = [textOf(entry?.name), textOf(entry?.version)];
    if (name === undefined || version === undefined || name.length > BOM_LIMITS.nameCharacters) continue;
    const license = textOf(entry?.license);
    const needs = Object.keys(asObject(entry?.dependencies) ?? {});
    libraries.push({
      ecosystem: "npm",
      name,
      version,
      hashes: [],
      needs,
      ...(license === undefined ? {} : { license }),
    });
  }
  return libraries;
}

export async function readCondaMeta(tree: InstalledTree): Promise<Library[]> {
  const libraries: Library[] = [];
  for (const path of tree.paths.filter((place) => /(?:^|\/)conda-meta\/[^/]+\.json$/.test(place))) {
    const entry = (await readObject(tree, path)) ?? {};
    const [name, version, license] = [textOf(entry.name), textOf(entry.version), textOf(entry.license)];
    const needs = textsOf(entry.depends).flatMap((text) => /^[A-Za-z0-9._-]+/.exec(text)?.[0] ?? []);
    const hashes = readSha256(entry.sha256);
    if (name === undefined || version === undefined)
      libraries.push(...packageOfUrl(textOf(entry.url) ?? "", hashes, needs));
    else
      libraries.push({
        ecosystem: "conda",
        name,
        version,
        hashes,
        needs,
        ...(license === undefined ? {} : { license }),
      });
  }
  return libraries;
}

async function readObject(tree: InstalledTree, path: string): Promise<Unknown | undefined> {
  const bytes = await tree.read(path);
  try {
    return (
      bytes && asObject(parseJson(bytes, { maxBytes: BOM_LIMITS.databaseBytes, maxDepth: BOM_LIMITS.lockfileDepth }))
    );
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}
