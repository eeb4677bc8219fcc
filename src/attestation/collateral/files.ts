/** Reads collateral where people keep it: single files, and folders with everything in them. */
import { join } from "node:path";
import { files, readFileBounded } from "../../host/index.ts";
import { attestationError } from "../errors.ts";
import { COLLATERAL_LIMITS } from "./limits.ts";
import { type CollateralSet, type NamedFile, readCollateralSet } from "./set.ts";

/** A named file must be collateral; what lies in a named folder and is none is passed over. */
export async function loadCollateral(paths: readonly string[]): Promise<CollateralSet> {
  return readCollateralSet(await readCollateralFiles(paths));
}

export async function readCollateralFiles(paths: readonly string[]): Promise<NamedFile[]> {
  const found: NamedFile[] = [];
  for (const path of paths) found.push(...(await readPath(path)));
  return found;
}

async function readPath(path: string): Promise<NamedFile[]> {
  const isFolder = (await files.stat(path).catch(() => undefined))?.isDirectory() === true;
  if (!isFolder) return [{ name: path, bytes: await readFileBounded(path, COLLATERAL_LIMITS.fileBytes) }];
  const names = await listFolder(path, 0);
  if (names.length > COLLATERAL_LIMITS.files)
    throw attestationError("COLLATERAL_UNREADABLE", { detail: `${path} has ${names.length} files` });
  const read: NamedFile[] = [];
  for (const name of names) {
    const { size } = await files.stat(name);
    if (size > COLLATERAL_LIMITS.fileBytes) continue;
    read.push({ name, named: false, bytes: await readFileBounded(name, COLLATERAL_LIMITS.fileBytes) });
  }
  return read;
}

/** Sorted, so that the same folder gives the same verdict on every machine; links are not followed. */
async function listFolder(folder: string, depth: number): Promise<string[]> {
  if (depth > COLLATERAL_LIMITS.folderDepth) return [];
  const entries = await files.readdir(folder, { withFileTypes: true });
  const names: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) names.push(...(await listFolder(path, depth + 1)));
    else if (entry.isFile() && !entry.name.startsWith(".")) names.push(path);
  }
  return names;
}
