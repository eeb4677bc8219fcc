/** The method "key": a public key that the caller names, found by the hint of the bundle. */
import { fromBase64, fromUtf8 } from "../../base/index.ts";
import type { DsseEnvelope } from "../../codec/index.ts";
import { signedPart, verifyEnvelope } from "../envelope.ts";
import { keyIdOf, loadTrustedKey } from "../keys.ts";
import type { SignedPayload } from "../signer.ts";
import { readTimes } from "../timestamps/verify.ts";
import type { Trust } from "../trust.ts";
import type { Material } from "./material.ts";

type KeyMaterial = Extract<Material, { method: "key" }>;

export function verifyWithKey(envelope: DsseEnvelope, material: KeyMaterial, trust: Trust): SignedPayload {
  const { key, payload } = verifyEnvelope(envelope, trust, hintOf(material));
  const [seenAt] = readTimes(material.timestamps, signedPart(envelope).signature, trust).times;
  return { payload, signerKey: key, signer: { method: "key", keyId: key.keyId }, seenAt };
}

/** The hint of 1.1.0 and later, or what it would be for the key text that older bundles carry. */
function hintOf({ hint, rawBytes }: KeyMaterial): string | undefined {
  if (hint !== undefined) return hint;
  const raw = rawBytes === undefined ? undefined : fromBase64(rawBytes);
  if (!raw) return undefined;
  try {
    return keyIdOf(loadTrustedKey(fromUtf8(raw)).pem);
  } catch {
    return undefined;
  }
}
