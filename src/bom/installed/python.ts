/** Installed distributions of Python: METADATA, and whether the files are still what RECORD says (PyPA, "Recording installed projects"). */
import { posix } from "node:path";
import { fromBase64Url, ModelkeepError, parseJson, toHex } from "../../base/index.ts";
import { BOM_LIMITS } from "../limits.ts";
import type { Library } from "../lockfiles/component.ts";
import { normaliseName } from "../packages.ts";
import { asObject, textOf } from "../plain.ts";
import { readStanzas } from "./stanzas.ts";
import type { InstalledTree } from "./tree.ts";

/** Vendored distributions inside a package are that package's own files. */
const METADATA =
  /^((?:.*\/)?(?:site-packages|dist-packages)\/|)([^/]+\.(?:dist-info\/METADATA|egg-info\/PKG-INFO|egg-info))$/;

/** One library per distribution and folder; broken ones are left out. */
export async function readPythonDistributions(tree: InstalledTree): Promise<Library[]> {
  const libraries: Library[] = [];
  for (const path of tree.paths) {
    const match = METADATA.exec(path);
    if (!match) continue;
    const bytes = await tree.read(path);
    const library = bytes && readMetadata(Buffer.from(bytes).toString("utf8"));
    if (!library) continue;
    const isWheel = path.endsWith(".dist-info/METADATA");
    const facts = isWheel ? await factsOf(tree, match[1] ?? "", posix.dirname(path)) : [];
    libraries.push(facts.length === 0 ? library : { ...library, facts });
  }
  return libraries;
}

function readMetadata(text: string): Library | undefined {
  const head = text.replace(/\r\n/g, "\n").split("\n\n", 1)[0] ?? "";
  const [fields] = readStanzas(head);
  const [name, version] = [fields?.get("Name"), fields?.get("Version")];
  const isSane =
    name !== undefined &&
    version !== undefined &&
    name.length <= BOM_LIMITS.nameCharacters &&
    version.length <= BOM_LIMITS.versionCharacters;
  if (!isSane || !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) return undefined;
  const needs = [...head.matchAll(/^Requires-Dist:\s*([A-Za-z0-9][A-Za-z0-9._-]*)([^\n]*)$/gm)]
    .filter(([, , rest = ""]) => !/;.*\bextra\s*==/.test(rest))
    .map(([, need = ""]) => normaliseName("PyPI", need));
  const license = fields?.get("License-Expression") ?? shortLicense(fields?.get("License"));
  return {
    ecosystem: "PyPI",
    name: normaliseName("PyPI", name),
    version,
    hashes: [],
    needs,
    ...(license === undefined ? {} : { license }),
  };
}

/** The older field may hold the whole text of a licence. */
function shortLicense(text: string | undefined): string | undefined {
  return text !== undefined && text !== "" && text !== "UNKNOWN" && text.length <= 100 && !text.includes("\n")
    ? text
    : undefined;
}

type Fact = readonly [string, string];

async function factsOf(tree: InstalledTree, base: string, folder: string): Promise<Fact[]> {
  const text = async (name: string) => {
    const bytes = await tree.read(`${folder}/${name}`);
    return bytes && Buffer.from(bytes).toString("utf8");
  };
  const [installer, record, direct] = [await text("INSTALLER"), await text("RECORD"), await text("direct_url.json")];
  const origin = direct === undefined ? undefined : originOf(direct);
  return [
    ...(installer === undefined ? [] : [["installer", installer.trim().slice(0, 50)] as const]),
    ...(origin === undefined ? [] : [["origin", origin] as const]),
    ...(await checkRecord(tree, base, record)),
  ];
}

/** Without what a URL may carry of a password. */
function originOf(text: string): string | undefined {
  try {
    const url = textOf(asObject(parseJson(text, { maxBytes: 64 * 1024, maxDepth: 8 }))?.url);
    return url?.replace(/(:\/\/)[^/@\s]*@/g, "$1").slice(0, BOM_LIMITS.textCharacters);
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}

const MAX_NAMED_FILES = 20;

/** `record` says whether every file with a hash is there and unchanged; those that are not are named. */
async function checkRecord(tree: InstalledTree, base: string, record: string | undefined): Promise<Fact[]> {
  if (record === undefined) return [["record", "missing"]];
  const changed: string[] = [];
  for (const { path, sha256 } of readRecord(record)) {
    const place = posix.normalize(base + path);
    if ((await tree.digest(place)) !== sha256) changed.push(path);
  }
  const named = changed.slice(0, MAX_NAMED_FILES).map((path) => ["record_changed", path.slice(0, 300)] as const);
  return [["record", changed.length === 0 ? "intact" : "changed"], ...named];
}

/** CSV of path, `sha256=BASE64URL`, size; entries without a hash (RECORD itself, compiled files) are left out. */
function readRecord(text: string): { path: string; sha256: string }[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const [, quoted, bare, written] = /^(?:"((?:[^"]|"")*)"|([^,"]*)),sha256=([A-Za-z0-9_-]{43})=*,/.exec(line) ?? [];
    const path = quoted?.replace(/""/g, '"') ?? bare;
    const digest = written === undefined ? undefined : fromBase64Url(written);
    return path !== undefined && digest?.length === 32 ? [{ path, sha256: toHex(digest) }] : [];
  });
}
