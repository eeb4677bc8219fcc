/** A model in the cache of the Hugging Face hub: `models--ORG--NAME/snapshots/REV` holds links into `models--ORG--NAME/blobs`. */
import { basename, dirname, join } from "node:path";
import { files } from "../host/index.ts";

/** The folder of the blobs, its real path, when the root is such a snapshot. */
export async function hubBlobsOf(root: string): Promise<string | undefined> {
  const real = await files.realpath(root);
  const snapshots = dirname(real);
  const model = dirname(snapshots);
  if (basename(snapshots) !== "snapshots" || !basename(model).startsWith("models--")) return undefined;
  return files.realpath(join(model, "blobs")).catch(() => undefined);
}
