/** Opens the blob store that a URI names. */
import type { BlobStore } from "./blob-store.ts";
import { artifactError } from "./errors.ts";
import { FolderStore } from "./folder-store.ts";

/** `file:///FOLDER`; other kinds throw STORE_URI_UNKNOWN. */
export async function openBlobStore(uri: string): Promise<BlobStore> {
  if (/^file:\/\/\/./.test(uri)) return new FolderStore(uri);
  throw artifactError("STORE_URI_UNKNOWN", { detail: uri.split(":")[0]?.slice(0, 40) ?? "" });
}
