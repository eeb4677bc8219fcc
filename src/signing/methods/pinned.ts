/** A signer who was judged before, known by the key: what else the bundle says of him is not asked again. */
import type { DsseEnvelope } from "../../codec/index.ts";
import { verifyEnvelope } from "../envelope.ts";
import type { TrustedKey } from "../keys.ts";
import type { SignedPayload } from "../signer.ts";
import { verifyWithKey } from "./key.ts";
import { keyOf, type Material, readUntrusted } from "./material.ts";

/** Throws SIGNER_NOT_TRUSTED for another key than the pinned ones, SIGNATURE_INVALID. */
export function verifyPinned(envelope: DsseEnvelope, material: Material, pinned: readonly TrustedKey[]): SignedPayload {
  if (material.method === "key") return verifyWithKey(envelope, material, { publicKeys: pinned });
  const [leaf] = material.certificates;
  const { key, payload } = verifyEnvelope(envelope, { publicKeys: pinned }, leaf && keyOf(readUntrusted(leaf)).keyId);
  return { payload, signerKey: key, signer: { method: "key", keyId: key.keyId } };
}
