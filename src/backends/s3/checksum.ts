/** The SHA-256 that goes with every body, so that S3 holds what it keeps against it. */
import { toBase64 } from "../../base/index.ts";

/** The algorithm is named as well: some services look at nothing else. */
export function checksumHeaders(sum: Uint8Array): Record<string, string> {
  return { "x-amz-sdk-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": toBase64(sum) };
}
