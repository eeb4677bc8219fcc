/** The Sigstore bundle around a statement: made with a signer, checked against explicitly trusted keys. */
import { z } from "zod";
import { fromBase64, fromUtf8, parseJson, utf8 } from "../base/index.ts";
import { type DsseEnvelope, dssePae, dsseToJson, parseDsse } from "../codec/index.ts";
import { signingError } from "./errors.ts";
import { keyIdOf, loadTrustedKey, type ModelSigner, type TrustedKey } from "./keys.ts";
import { SIGNING_LIMITS } from "./limits.ts";
import { type Manifest, parseManifest, STATEMENT_PAYLOAD_TYPE } from "./manifest.ts";

const MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";

/** Whom the caller trusts: explicit public keys, nothing else. */
export interface Trust {
  readonly publicKeys: readonly TrustedKey[];
}

declare const verified: unique symbol;

/** Only `verifyBundle` makes these. */
export interface VerifiedManifest extends Manifest {
  readonly [verified]: true;
  /** The signer's key: hex SHA-256 of its PEM. */
  readonly keyId: string;
}

export function trustKeys(pems: readonly (string | Uint8Array)[]): Trust {
  if (pems.length > SIGNING_LIMITS.trustedKeys)
    throw signingError("PUBLIC_KEY_INVALID", { detail: `over ${SIGNING_LIMITS.trustedKeys} keys` });
  return { publicKeys: pems.map(loadTrustedKey) };
}

const bundleSchema = z.strictObject({
  mediaType: z.literal(MEDIA_TYPE),
  verificationMaterial: z.looseObject({
    publicKey: z
      .object({ hint: z.string().max(200).optional(), rawBytes: z.string().max(16_384).optional() })
      .optional(),
    x509CertificateChain: z.unknown().optional(),
    certificate: z.unknown().optional(),
    tlogEntries: z.array(z.unknown()).max(100).optional(),
  }),
  dsseEnvelope: z.unknown(),
});

export async function signEnvelope(payload: Uint8Array, signer: ModelSigner): Promise<DsseEnvelope> {
  const signature = await signer.sign(dssePae(STATEMENT_PAYLOAD_TYPE, payload));
  return { payloadType: STATEMENT_PAYLOAD_TYPE, payload, signatures: [{ keyId: undefined, signature }] };
}

export async function makeBundle(payload: Uint8Array, signer: ModelSigner): Promise<Uint8Array> {
  const bundle = {
    mediaType: MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint: signer.keyId }, tlogEntries: [] },
    dsseEnvelope: dsseToJson(await signEnvelope(payload, signer)),
  };
  return utf8(`${JSON.stringify(bundle)}\n`);
}

/**
 * Checks the signature and the statement, not the files. Throws BUNDLE_INVALID or SIGNING_METHOD_UNSUPPORTED when it
 * could not be judged, SIGNER_NOT_TRUSTED, SIGNATURE_INVALID or MODEL_NOT_AS_SIGNED when it was and failed.
 */
export function verifyBundle(bundle: Uint8Array | string, trust: Trust): VerifiedManifest {
  const parsed = bundleSchema.safeParse(
    parseJson(bundle, { maxBytes: SIGNING_LIMITS.bundleBytes, what: "signature file" }),
  );
  if (!parsed.success)
    throw signingError("BUNDLE_INVALID", { detail: parsed.error.issues[0]?.path.join(".") || "its keys" });
  const { publicKey, x509CertificateChain, certificate, tlogEntries } = parsed.data.verificationMaterial;
  const others = [x509CertificateChain, certificate].filter(
    (material) => material !== undefined && material !== null,
  ).length;
  if (others > 0 && publicKey) throw signingError("BUNDLE_INVALID", { detail: "two kinds of verification material" });
  if (others > 0) throw signingError("SIGNING_METHOD_UNSUPPORTED", { detail: certificate ? "keyless" : "certificate" });
  if (!publicKey) throw signingError("BUNDLE_INVALID", { detail: "no verification material" });
  if ((tlogEntries?.length ?? 0) > 0) throw signingError("BUNDLE_INVALID", { detail: "a key bundle with log entries" });
  const { key, payload } = verifyEnvelope(parseDsse(parsed.data.dsseEnvelope as object), trust, hintOf(publicKey));
  return { ...parseManifest(payload), keyId: key.keyId } as VerifiedManifest;
}

/** The hint of 1.1.0 and later, or what it would be for the key text that older bundles carry. */
function hintOf(publicKey: { hint?: string | undefined; rawBytes?: string | undefined }): string | undefined {
  if (publicKey.hint !== undefined) return publicKey.hint;
  const raw = publicKey.rawBytes === undefined ? undefined : fromBase64(publicKey.rawBytes);
  if (!raw) return undefined;
  try {
    return keyIdOf(loadTrustedKey(fromUtf8(raw)).pem);
  } catch {
    return undefined;
  }
}

/** The signature over the envelope, by one of the trusted keys; with a hint only the key it names counts. */
export function verifyEnvelope(
  envelope: DsseEnvelope,
  trust: Trust,
  hint?: string,
): { key: TrustedKey; payload: Uint8Array } {
  if (envelope.payloadType !== STATEMENT_PAYLOAD_TYPE)
    throw signingError("BUNDLE_INVALID", { detail: `payload type ${envelope.payloadType}` });
  if (envelope.signatures.length !== 1)
    throw signingError("BUNDLE_INVALID", { detail: `${envelope.signatures.length} signatures` });
  const candidates = hint === undefined ? trust.publicKeys : trust.publicKeys.filter(({ keyId }) => keyId === hint);
  if (candidates.length === 0)
    throw signingError("SIGNER_NOT_TRUSTED", { detail: `key ${(hint ?? "unnamed").slice(0, 64)}` });
  const signed = dssePae(envelope.payloadType, envelope.payload);
  const signature = envelope.signatures[0]?.signature ?? new Uint8Array(0);
  const key = candidates.find((candidate) => candidate.verifies(signed, signature));
  if (!key) throw signingError("SIGNATURE_INVALID");
  return { key, payload: envelope.payload };
}
