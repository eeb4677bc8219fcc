/** Finds the folder over which the model is mounted: the same for every run, since each run has a namespace of its own. */
import { isAbsolute, join } from "node:path";
import { files, homeDirectory, processInfo, tempDirectory } from "../host/index.ts";
import { loaderError } from "./errors.ts";

/**
 * An empty folder of this user that nobody else can replace; made when it is missing, and never removed: when a folder
 * goes outside the namespace, the kernel takes the mount inside away with it. Fails with NO_MOUNT_FOLDER.
 */
export async function findMountFolder(): Promise<string> {
  const tried: string[] = [];
  for (const parent of parents()) {
    const own = join(parent, parent === tempDirectory() ? `modelkeep-${processInfo().uid}` : "modelkeep");
    const folder = join(own, "model");
    if ((await isOwn(own)) && (await isOwn(folder))) return folder;
    tried.push(folder);
  }
  throw loaderError("NO_MOUNT_FOLDER", { detail: tried.join(", ") });
}

/** Folders that outlive a login come before those that do not. */
function parents(): string[] {
  const { uid, env } = processInfo();
  const data = env.XDG_DATA_HOME ?? join(env.HOME ?? homeDirectory(), ".local", "share");
  const all = [uid === 0 ? "/run" : undefined, data, env.XDG_RUNTIME_DIR, tempDirectory()];
  return all.filter((parent): parent is string => parent !== undefined && isAbsolute(parent));
}

async function isOwn(folder: string): Promise<boolean> {
  try {
    await files.mkdir(folder, { recursive: true, mode: 0o700 });
    const stat = await files.lstat(folder);
    return stat.isDirectory() && stat.uid === processInfo().uid && (stat.mode & 0o022) === 0;
  } catch {
    return false;
  }
}
