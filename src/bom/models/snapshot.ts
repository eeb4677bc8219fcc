/** Where a model's files lie: plainly below its folder, or as links of Hugging Face's cache (`snapshots/REVISION`). */
import { basename, dirname, join, resolve } from "node:path";
import { modelFilePath, walkModel } from "../../artifact/index.ts";

export interface PlacedFile {
  /** As the model names it. */
  readonly path: string;
  readonly bytes: number;
  /** On the disk, never a link. */
  readonly place: string;
}

export interface Snapshot {
  /** `organisation/name`. */
  readonly repository: string;
  /** The commit, 40 hex digits. */
  readonly revision: string;
}

/** `models--ORG--NAME/snapshots/REVISION`; undefined for every other folder. */
export function snapshotOf(root: string): Snapshot | undefined {
  const folder = resolve(root);
  const revision = basename(folder);
  const [kind, ...names] = basename(dirname(dirname(folder))).split("--");
  const isSnapshot = basename(dirname(folder)) === "snapshots" && kind === "models" && names.length > 0;
  return isSnapshot && /^[0-9a-f]{40}$/.test(revision) ? { repository: names.join("/"), revision } : undefined;
}

/** Links are followed in a snapshot only, and only to its own blobs. Fails as walkModel does. */
export async function placeFiles(root: string): Promise<PlacedFile[]> {
  if (!snapshotOf(root)) {
    const found = await walkModel(root);
    return found.map(({ path, bytes }) => ({
      path: path === "." ? basename(root) : path,
      bytes,
      place: modelFilePath(root, path),
    }));
  }
  const repository = dirname(dirname(resolve(root)));
  const prefix = `snapshots/${basename(resolve(root))}/`;
  const found = await walkModel(repository, { followLinks: true });
  return found
    .filter(({ path }) => path.startsWith(prefix))
    .map(({ path, bytes, source }) => ({
      path: path.slice(prefix.length),
      bytes,
      place: source ?? join(repository, path),
    }));
}
