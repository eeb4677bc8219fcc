/** The Sigstore bundle around a statement: made by a signer, checked by the one method that it claims. */
import { parseJson, toBase64, utf8 } from "../base/index.ts";
import { dsseToJson, parseDsse } from "../codec/index.ts";
import { signEnvelope, signedPart } from "./envelope.ts";
import type { ModelSigner } from "./keys.ts";
import { SIGNING_LIMITS } from "./limits.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { verifyWithCertificate } from "./methods/certificate.ts";
import { verifyWithKey } from "./methods/key.ts";
import { verifyKeyless } from "./methods/keyless.ts";
import { MEDIA_TYPE, readBundleParts } from "./methods/material.ts";
import { verifyPinned } from "./methods/pinned.ts";
import type { SignedPayload, SignerIdentity } from "./signer.ts";
import type { Trust } from "./trust.ts";

export { signEnvelope, verifyEnvelope } from "./envelope.ts";
export type { Trust } from "./trust.ts";

declare const verified: unique symbol;

/** Only `verifyBundle` makes these. */
export interface VerifiedManifest extends Manifest, Pick<SignedPayload, "signerKey" | "seenAt"> {
  readonly [verified]: true;
  /** The key that signed, of whatever method: lower-case hex SHA-256 of its SPKI PEM. */
  readonly keyId: string;
  readonly signer: SignerIdentity;
}

/** A key bundle, one with certificates when the signer has them, or what the signer makes itself. */
export async function makeBundle(payload: Uint8Array, signer: ModelSigner): Promise<Uint8Array> {
  if (signer.makeBundle) return signer.makeBundle(payload);
  const certificates = signer.certificates?.map((der) => ({ rawBytes: toBase64(der) }));
  const material = certificates ? { x509CertificateChain: { certificates } } : { publicKey: { hint: signer.keyId } };
  const envelope = await signEnvelope(payload, signer);
  const stamps = (await signer.stamp?.(signedPart(envelope).signature)) ?? [];
  const rfc3161Timestamps = stamps.map((response) => ({ signedTimestamp: toBase64(response) }));
  const times = stamps.length > 0 ? { timestampVerificationData: { rfc3161Timestamps } } : {};
  const bundle = {
    mediaType: MEDIA_TYPE,
    verificationMaterial: { ...material, tlogEntries: [], ...times },
    dsseEnvelope: dsseToJson(envelope),
  };
  return utf8(`${JSON.stringify(bundle)}\n`);
}

/**
 * Checks who signed, not what: the payload may be any statement. Throws BUNDLE_INVALID, BUNDLE_LEGACY,
 * SIGNING_METHOD_UNSUPPORTED or REVOCATION_UNKNOWN when it could not be judged; SIGNER_NOT_TRUSTED, CERTIFICATE_NOT_TRUSTED, CERTIFICATE_REVOKED,
 * LOG_NOT_PROVEN or SIGNATURE_INVALID when it was and failed.
 */
export function openBundle(bundle: Uint8Array | string, trust: Trust): SignedPayload {
  const limits = { maxBytes: SIGNING_LIMITS.bundleBytes, maxValues: SIGNING_LIMITS.bundleValues };
  const parts = readBundleParts(parseJson(bundle, { ...limits, what: "signature file" }));
  const envelope = parseDsse(parts.envelope);
  const { material } = parts;
  if (trust.pinned) return verifyPinned(envelope, material, trust.pinned);
  if (material.method === "key") return verifyWithKey(envelope, material, trust);
  if (material.method === "certificate") return verifyWithCertificate(envelope, material, trust);
  return verifyKeyless(envelope, parts.json, trust);
}

/** Checks the signature and the statement, not the files. Throws like `openBundle`, and MODEL_NOT_AS_SIGNED. */
export function verifyBundle(bundle: Uint8Array | string, trust: Trust): VerifiedManifest {
  const { payload, signer, signerKey, seenAt } = openBundle(bundle, trust);
  return { ...parseManifest(payload), keyId: signerKey.keyId, signer, signerKey, seenAt } as VerifiedManifest;
}
