/** Opens the blob store that a URI names. */
import { fileURLToPath } from "node:url";
import type { BlobStore } from "./blob-store.ts";
import { artifactError } from "./errors.ts";
import { FolderStore } from "./folder-store.ts";

/** `file:///FOLDER`; other kinds throw STORE_URI_UNKNOWN. */
export async function openBlobStore(uri: string): Promise<BlobStore> {
  if (!/^file:\/\/\/./.test(uri))
    throw artifactError("STORE_URI_UNKNOWN", { detail: uri.split(":")[0]?.slice(0, 40) ?? "" });
  return new FolderStore(uri, folderOf(uri));
}

function folderOf(uri: string): string {
  try {
    const path = fileURLToPath(uri);
    if (!path.includes("\0")) return path;
  } catch {}
  throw artifactError("STORE_URI_UNKNOWN", { detail: "it names no folder" });
}
