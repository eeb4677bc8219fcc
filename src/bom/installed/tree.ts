/** The files of an installation that say what is installed: in a folder, or in the layers of an image. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { digestFile } from "../../artifact/index.ts";
import { baseError } from "../../base/index.ts";
import { files, fsSync, readFileBounded, systemErrorCode } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";

export interface InstalledTree {
  /** Paths of the files that say what is installed, relative to the root, in order. */
  readonly paths: readonly string[];
  /** Undefined when there is no such file. Fails with LIMIT_EXCEEDED. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** SHA-256 as hex; undefined when there is no such file. */
  digest(path: string): Promise<string | undefined>;
}

/** Databases whose place is fixed: links may lead to them. */
export const DATABASES = [
  "var/lib/dpkg/status",
  "lib/apk/db/installed",
  "usr/lib/apk/db/installed",
  "etc/os-release",
  "usr/lib/os-release",
] as const;

const INTERESTING = [
  /^var\/lib\/dpkg\/status$/,
  /^var\/lib\/dpkg\/status\.d\/[^/]+$/,
  /^(?:usr\/)?lib\/apk\/db\/installed$/,
  /^(?:etc|usr\/lib)\/os-release$/,
  /(?:^|\/)[^/]+\.dist-info\/(?:METADATA|RECORD|INSTALLER|direct_url\.json)$/,
  /(?:^|\/)[^/]+\.egg-info(?:\/PKG-INFO)?$/,
  /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/@]+\/package\.json$/,
  /(?:^|\/)conda-meta\/[^/]+\.json$/,
];

/** True for files that are read; everything else counts only where a RECORD lists it. */
export function isInteresting(path: string): boolean {
  return INTERESTING.some((pattern) => pattern.test(path));
}

/** Kernel's own folders, which are not installed. */
const NEVER = new Set(["proc", "sys", "dev", "run", ".git"]);

/** Links are not followed; folders that cannot be read are left out. Fails with INSTALLATION_MISSING, LIMIT_EXCEEDED. */
export async function readFolderTree(root: string, signal?: AbortSignal): Promise<InstalledTree> {
  const found: string[] = [];
  const open = [""];
  let entries = 0;
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    if (signal?.aborted) throw bomError("BOM_STOPPED");
    for (const entry of await readFolder(root, folder)) {
      if (++entries > BOM_LIMITS.treeEntries)
        throw baseError("LIMIT_EXCEEDED", { detail: `over ${BOM_LIMITS.treeEntries} files below ${root}` });
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (
        entry.isDirectory() &&
        !(folder === "" && NEVER.has(entry.name)) &&
        path.split("/").length <= BOM_LIMITS.treeDepth
      )
        open.push(path);
      else if (isInteresting(path)) found.push(path);
    }
  }
  return { paths: found.sort(), read: (path) => readInside(root, path), digest: (path) => digestInside(root, path) };
}

async function readFolder(root: string, folder: string) {
  try {
    return await files.readdir(join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (folder !== "") return [];
    const detail = `${root} (${systemErrorCode(error) ?? "unknown"})`;
    throw bomError("INSTALLATION_MISSING", { detail, cause: error });
  }
}

async function readInside(root: string, path: string): Promise<Uint8Array | undefined> {
  if (sizeInside(root, path) === undefined) return undefined;
  return readFileBounded(join(root, path), BOM_LIMITS.databaseBytes);
}

/** Most files are small, and read at once and without waiting: there are tens of thousands. The others in chunks. */
async function digestInside(root: string, path: string): Promise<string | undefined> {
  const bytes = sizeInside(root, path);
  if (bytes === undefined) return undefined;
  if (bytes > SMALL_BYTES) return digestFile(root, path);
  try {
    return createHash("sha256")
      .update(fsSync.readFileSync(join(root, path)))
      .digest("hex");
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}

const SMALL_BYTES = 1024 * 1024;

/** A RECORD may say anything: what leads out of the root is not there. */
function sizeInside(root: string, path: string): number | undefined {
  if (path.split("/").includes("..") || path.startsWith("/") || path.includes("\0")) return undefined;
  try {
    const stat = fsSync.lstatSync(join(root, path), { throwIfNoEntry: false });
    return stat?.isFile() ? stat.size : undefined;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}
