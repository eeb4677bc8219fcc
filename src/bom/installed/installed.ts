/** Everything that is installed below a root: packages of the distribution, of Python, npm and conda. */
import type { Library } from "../lockfiles/component.ts";
import { type OperatingSystem, readDistribution, readOperatingSystem } from "./distributions.ts";
import { readCondaMeta, readNodeModules } from "./others.ts";
import { readPythonDistributions } from "./python.ts";
import type { InstalledTree } from "./tree.ts";

export interface Installed {
  readonly system?: OperatingSystem;
  readonly libraries: readonly Library[];
}

/** Fails as the tree's reads do. What stands in the files never fails. */
export async function readInstalled(tree: InstalledTree): Promise<Installed> {
  const system = await readOperatingSystem(tree);
  const libraries = [
    ...(await readDistribution(tree, system)),
    ...(await readPythonDistributions(tree)),
    ...(await readNodeModules(tree)),
    ...(await readCondaMeta(tree)),
  ];
  return { libraries, ...(system ? { system } : {}) };
}
