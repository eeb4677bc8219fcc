/** Reads Pipfile.lock: pinned versions of the default and the development group. */
import { normaliseName } from "../packages.ts";
import { asObject, objectsOf, parseJsonLock, textOf, textsOf } from "../plain.ts";
import type { Library } from "./component.ts";
import { readSha256 } from "./integrity.ts";

/** Local and version-controlled packages are named without a version. Throws LOCKFILE_INVALID. */
export function readPipfileLock(text: string, path: string): Library[] {
  const document = parseJsonLock(text, path);
  const groups = Object.keys(document).filter((key) => key !== "_meta");
  return groups.flatMap((group) =>
    objectsOf(asObject(document[group])).map(([name, entry]): Library => {
      const version = /^===?\s*([^\s,;*]+)$/.exec(textOf(entry.version) ?? "")?.[1];
      const hashes = textsOf(entry.hashes);
      return {
        ecosystem: "PyPI",
        name: normaliseName("PyPI", name),
        ...(version === undefined ? { requirement: textOf(entry.version) ?? "*" } : { version }),
        hashes: hashes.length === 1 ? readSha256(hashes[0]) : [],
        needs: [],
      };
    }),
  );
}
