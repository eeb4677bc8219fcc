/** Names of blobs: paths that every store can hold, folders on a disk too. */
import { artifactError } from "../errors.ts";
import { ARTIFACT_LIMITS } from "../limits.ts";

/** Relative, no part empty or with a dot at its start, no control character, no backslash. */
export function isBlobName(name: string): boolean {
  const parts = name.split("/");
  return (
    name.isWellFormed() &&
    !/[\p{Cc}\\]/u.test(name) &&
    parts.every(
      (part) => part !== "" && !part.startsWith(".") && Buffer.byteLength(part) <= ARTIFACT_LIMITS.blobPartBytes,
    ) &&
    Buffer.byteLength(name) <= ARTIFACT_LIMITS.blobNameBytes
  );
}

/** The name; throws BLOB_NAME_INVALID. */
export function checkBlobName(name: string): string {
  if (!isBlobName(name)) throw artifactError("BLOB_NAME_INVALID", { detail: JSON.stringify(name.slice(0, 80)) });
  return name;
}
