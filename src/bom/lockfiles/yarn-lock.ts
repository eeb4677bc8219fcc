/** Reads yarn.lock: the format of yarn 1, and the YAML of yarn 2 and later. */
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, objectsOf, parseYamlLock, textOf } from "../plain.ts";
import type { Library } from "./component.ts";
import { readIntegrity } from "./integrity.ts";

/** Throws LOCKFILE_INVALID. */
export function readYarnLock(text: string, path: string): Library[] {
  return /^__metadata:/m.test(text) ? readBerry(text, path) : readClassic(text, path);
}

/** Packages of the workspace itself are left out. */
function readBerry(text: string, path: string): Library[] {
  return objectsOf(parseYamlLock(text, path)).flatMap(([, entry]): Library[] => {
    const [, name] = /^((?:@[^/@]+\/)?[^@]+)@npm:/.exec(textOf(entry.resolution) ?? "") ?? [];
    const version = textOf(entry.version);
    if (name === undefined || version === undefined) return [];
    return [{ ecosystem: "npm", name, version, hashes: [], needs: Object.keys(asObject(entry.dependencies) ?? {}) }];
  });
}

interface Open {
  readonly name: string;
  version?: string;
  integrity?: string;
  readonly needs: string[];
}

/** A line without indentation begins a package; `npm:` names the one that is really there. */
function readClassic(text: string, path: string): Library[] {
  const packages: Open[] = [];
  let section = "";
  for (const line of text.split(/\r?\n/)) {
    if (line.length > BOM_LIMITS.requirementCharacters)
      throw bomError("LOCKFILE_INVALID", { detail: `${path}: a line is too long` });
    if (line.trim() === "" || line.startsWith("#")) continue;
    const open = packages.at(-1);
    if (!line.startsWith(" ")) packages.push(begin(line, path));
    else if (!open) throw bomError("LOCKFILE_INVALID", { detail: `${path}: a line belongs to no package` });
    else if (line.startsWith("    ")) {
      const need = /^ {4}"?((?:@[^/"\s]+\/)?[^"\s]+)"? /.exec(line)?.[1];
      if (need !== undefined && /^(?:optionalD|d)ependencies$/.test(section)) open.needs.push(need);
    } else {
      const [, key = "", value = ""] = /^ {2}(\w+):?(?: "?([^"]*)"?)?$/.exec(line) ?? [];
      section = key;
      if (key === "version") open.version = value;
      if (key === "integrity") open.integrity = value.split(" ").at(-1) ?? "";
    }
  }
  return packages.flatMap(({ name, version, integrity, needs }) =>
    version === undefined
      ? []
      : [{ ecosystem: "npm" as const, name, version, hashes: readIntegrity(integrity), needs }],
  );
}

function begin(line: string, path: string): Open {
  const [, name, alias] =
    /^"?((?:@[^/"@]+\/)?[^@"\s]+)@(?:npm:((?:@[^/"@]+\/)?[^@"\s]+)@)?[^:]*(?::.*)?:$/.exec(line) ?? [];
  const found = alias ?? name;
  if (found === undefined) throw bomError("LOCKFILE_INVALID", { detail: `${path}: ${line.slice(0, 80)}` });
  return { name: found, needs: [] };
}
