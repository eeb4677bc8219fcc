/** The part of Node that reads and writes files, but for one function of it that may never come back. */
import { mkdir as makeOne, stat } from "node:fs/promises";
import { dirname } from "node:path";

export * from "node:fs/promises";

export interface MakeFolderOptions {
  /** What leads to it too; then it may be there already. */
  readonly recursive?: boolean;
  readonly mode?: number;
}

/**
 * As Node's: resolves to the first folder that was made when it is recursive. Node's own asks for ever where a folder is
 * there and its file system says ENOENT of what should be made inside, as /proc and some network mounts do.
 */
export async function mkdir(path: string, { recursive = false, mode }: MakeFolderOptions = {}) {
  const options = mode === undefined ? {} : { mode };
  if (recursive) return makeWithParents(path, options);
  await makeOne(path, options);
  return undefined;
}

async function makeWithParents(path: string, options: { readonly mode?: number }): Promise<string | undefined> {
  try {
    return await makeHere(path, options);
  } catch (error) {
    const parent = dirname(path);
    if (codeOf(error) !== "ENOENT" || parent === path) throw error;
    const first = await makeWithParents(parent, options).catch((why: unknown) => {
      // A link to nothing is there and is no folder: it is the name below that cannot be made.
      throw codeOf(why) === "EEXIST" ? error : why;
    });
    const made = await makeHere(path, options);
    return first ?? made;
  }
}

/** Undefined when it is there. */
async function makeHere(path: string, options: { readonly mode?: number }): Promise<string | undefined> {
  try {
    await makeOne(path, options);
    return path;
  } catch (error) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) return undefined;
    throw error;
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);
