/** What a service says of a checksum, held against what was sent. */
import { createHash } from "node:crypto";
import { storeError } from "./errors.ts";

/** Services that know no such checksum say nothing; one that says another one did not keep what was sent: BLOB_DAMAGED. */
export function isConfirmed(said: string | undefined, expected: string, name: string): boolean {
  if (said === undefined) return false;
  if (said !== expected) throw storeError("BLOB_DAMAGED", { detail: name });
  return true;
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

/** The checksum that Azure and Google keep beside a blob. It tells accidents, not attacks. */
export function md5(bytes: Uint8Array): Uint8Array {
  return createHash("md5").update(bytes).digest();
}
