/** Reads requirements.txt: pins, ranges, direct references, included files (pip, "Requirements File Format"). */
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { normaliseName } from "../packages.ts";
import type { Library } from "./component.ts";

export interface Requirements {
  readonly libraries: readonly Library[];
  /** Paths behind -r and -c, as written. */
  readonly includes: readonly string[];
}

const NAME = /^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(.*)$/;
const PIN = /^===?\s*([^\s,;*]+)$/;
const WHEEL = /\/[A-Za-z0-9._]+-([A-Za-z0-9.!+_]+)(?:-\d[^-]*)?-[^-/]+-[^-/]+-[^-/]+\.whl(?:[?#]|$)/;

/** Lines that pip does not install from (options, editable folders) are left out. */
export function parseRequirements(text: string): Requirements {
  const libraries: Library[] = [];
  const includes: string[] = [];
  for (const line of logicalLines(text)) {
    const include = /^(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)/.exec(line)?.[1];
    if (include) includes.push(include);
    else if (!line.startsWith("-")) libraries.push(...readRequirement(line));
  }
  return { libraries, includes };
}

function logicalLines(text: string): string[] {
  return text
    .replace(/^\ufeff/, "")
    .replace(/\\\r?\n/g, " ")
    .split(/\r?\n/)
    .map(checkLength)
    .map((line) =>
      line
        .replace(/\s+/g, " ")
        .replace(/(?:^| )#.*$/, "")
        .trim(),
    )
    .filter((line) => line !== "");
}

function checkLength(line: string): string {
  if (line.length > BOM_LIMITS.requirementCharacters) {
    throw bomError("LOCKFILE_INVALID", { detail: `a requirement of ${line.length} characters` });
  }
  return line;
}

function readRequirement(line: string): Library[] {
  const hashes = [...line.matchAll(/--hash[=\s]sha256:([0-9a-fA-F]{64})/g)].map(([, hex = ""]) => hex.toLowerCase());
  const bare = line.replace(/\s+--\S.*$/, "").replace(/\s*;.*$/, "");
  const match = NAME.exec(bare);
  if (!match?.[1]) return [];
  const asked = (match[2] ?? "").replace(/^\(|\)$/g, "").trim();
  const version = PIN.exec(asked)?.[1] ?? (asked.startsWith("@") ? WHEEL.exec(asked)?.[1] : undefined);
  return [
    {
      ecosystem: "PyPI",
      name: normaliseName("PyPI", match[1]),
      ...(version === undefined ? { requirement: asked === "" ? "*" : withoutUserInfo(asked) } : { version }),
      hashes: hashes.length === 1 && hashes[0] ? [{ algorithm: "SHA-256", hex: hashes[0] }] : [],
      needs: [],
    },
  ];
}

/** A direct reference may carry a password, which has no place in a bill of materials. */
function withoutUserInfo(text: string): string {
  return text.replace(/(:\/\/)[^/@\s]*@/g, "$1");
}
