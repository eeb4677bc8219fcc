/** Makes the bill of materials of a model folder. */
import { basename, resolve } from "node:path";
import { modelFilePath } from "../artifact/index.ts";
import { toCycloneDx } from "./cyclonedx.ts";
import type { JsonObject } from "./document.ts";
import type { Library } from "./lockfiles/component.ts";
import { isLockfile, readLockfile } from "./lockfiles/read-lockfile.ts";
import { type GatherOptions, gatherModelFacts, type ModelFacts } from "./model-facts.ts";

export interface CreateBomOptions extends GatherOptions {
  /** Name of the model; without it the one in its weights, or that of the folder. */
  readonly name?: string;
  readonly version?: string;
  /** Lockfiles outside the folder; those inside are found. */
  readonly lockfiles?: readonly string[];
  /** Milliseconds since the epoch, for the document's date; without it equal folders give equal documents. */
  readonly now?: number;
}

/**
 * A CycloneDX 1.7 document: the model with its card and pedigree, every file with its SHA-256, data sets, libraries.
 * Fails as walkModel and readLockfile do.
 */
export async function createBom(options: CreateBomOptions): Promise<JsonObject> {
  const facts = await gatherModelFacts(options);
  const inside = facts.files.map(({ path }) => path).filter(isLockfile);
  const single = facts.files.length === 1 && basename(options.root) === facts.files[0]?.path;
  const places = single ? [] : inside.map((path) => modelFilePath(options.root, path));
  const libraries: Library[] = [];
  for (const path of places) libraries.push(...(await readLockfile(path, options.root)));
  for (const path of options.lockfiles ?? []) libraries.push(...(await readLockfile(path)));
  return toCycloneDx({
    name: options.name ?? nameOf(facts) ?? basename(resolve(options.root)),
    ...(options.version === undefined ? {} : { version: options.version }),
    facts,
    libraries,
    ...(options.now === undefined ? {} : { now: options.now }),
  });
}

function nameOf(facts: ModelFacts): string | undefined {
  const names = facts.files.flatMap(({ weights }) => weights?.metadata ?? []);
  return names.find(([key, value]) => key === "general.name" && value !== "")?.[1];
}
