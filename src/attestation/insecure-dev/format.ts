/** The evidence of the development kind: canonical JSON, signed by a key that is made for it and proves nothing. */
import { z } from "zod";
import { concatBytes, utf8 } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import { launchDescription } from "./launch.ts";

export const INSECURE_DEV_KIND = "insecure-dev";

export const insecureEvidence = z.strictObject({
  kind: z.literal(INSECURE_DEV_KIND),
  launch: launchDescription,
  /** 64 bytes, lower-case hex. */
  report_data: z.string().regex(/^[0-9a-f]{128}$/),
  /** P-256 public key, SPKI, base64. */
  public_key: z.string().max(256),
  /** ECDSA with SHA-256 over the rest, r and s, base64. */
  signature: z.string().max(128),
});

export type InsecureEvidence = z.output<typeof insecureEvidence>;

export function signedBytes(evidence: Omit<InsecureEvidence, "signature">): Uint8Array {
  const { kind, launch, report_data, public_key } = evidence;
  return concatBytes(utf8("modelkeep insecure-dev evidence v1\n"), jcs({ kind, launch, report_data, public_key }));
}
