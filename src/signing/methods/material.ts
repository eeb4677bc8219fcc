/** What a bundle says about how it was signed: one of three kinds of verification material, never two. */
import { z } from "zod";
import { fromBase64, ModelkeepError } from "../../base/index.ts";
import { type Certificate, parseCertificate } from "../../codec/index.ts";
import { signingError } from "../errors.ts";
import { type TrustedKey, trustedKeyOf } from "../keys.ts";
import { SIGNING_LIMITS } from "../limits.ts";

export const MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";

interface Stamped {
  /** Timestamp responses as they came, a stranger's word. */
  readonly timestamps: readonly Uint8Array[];
}

export type Material =
  | ({ readonly method: "key"; readonly hint?: string | undefined; readonly rawBytes?: string | undefined } & Stamped)
  | ({ readonly method: "certificate"; readonly certificates: readonly Uint8Array[] } & Stamped)
  | { readonly method: "keyless"; readonly certificates: readonly Uint8Array[] };

const rawBytes = z.string().max(Math.ceil((SIGNING_LIMITS.certificateBytes / 3) * 4) + 4);

const materialSchema = z.strictObject({
  publicKey: z.object({ hint: z.string().max(200).optional(), rawBytes: z.string().max(16_384).optional() }).nullish(),
  x509CertificateChain: z
    .object({ certificates: z.array(z.object({ rawBytes })).max(SIGNING_LIMITS.chainCertificates) })
    .nullish(),
  certificate: z.object({ rawBytes }).nullish(),
  tlogEntries: z.array(z.unknown()).max(SIGNING_LIMITS.logEntries).nullish(),
  timestampVerificationData: z
    .object({ rfc3161Timestamps: z.array(z.unknown()).max(SIGNING_LIMITS.timestamps).optional() })
    .nullish(),
});

const bundleSchema = z.strictObject({
  mediaType: z.literal(MEDIA_TYPE),
  verificationMaterial: materialSchema,
  dsseEnvelope: z.record(z.string(), z.unknown()),
});

export interface BundleParts {
  readonly material: Material;
  readonly envelope: object;
  /** The whole, as it was parsed. */
  readonly json: object;
}

/** Throws BUNDLE_INVALID. */
export function readBundleParts(json: unknown): BundleParts {
  const parsed = bundleSchema.safeParse(json);
  if (!parsed.success)
    throw signingError("BUNDLE_INVALID", { detail: parsed.error.issues[0]?.path.join(".") || "its keys" });
  const { verificationMaterial, dsseEnvelope } = parsed.data;
  return { material: materialOf(verificationMaterial), envelope: dsseEnvelope, json: parsed.data };
}

function materialOf(data: z.infer<typeof materialSchema>): Material {
  const { publicKey, x509CertificateChain, certificate } = data;
  const kinds = [publicKey, x509CertificateChain, certificate].filter((kind) => kind !== undefined && kind !== null);
  if (kinds.length !== 1)
    throw signingError("BUNDLE_INVALID", { detail: `${kinds.length} kinds of verification material` });
  const entries = data.tlogEntries?.length ?? 0;
  if (certificate && entries === 0)
    throw signingError("BUNDLE_INVALID", { detail: "a keyless bundle without log entry" });
  if (certificate) return { method: "keyless", certificates: [derOf(certificate)] };
  if (entries > 0) throw signingError("BUNDLE_INVALID", { detail: "log entries that this method does not have" });
  const timestamps = (data.timestampVerificationData?.rfc3161Timestamps ?? []).map(stampOf);
  if (publicKey) return { method: "key", ...publicKey, timestamps };
  return { method: "certificate", certificates: (x509CertificateChain?.certificates ?? []).map(derOf), timestamps };
}

const stampSchema = z.object({
  signedTimestamp: z.string().max(Math.ceil((SIGNING_LIMITS.timestampBytes / 3) * 4) + 4),
});

/** Anything but base64 comes out as no bytes, which is no timestamp. */
function stampOf(entry: unknown): Uint8Array {
  const parsed = stampSchema.safeParse(entry);
  return (parsed.success ? fromBase64(parsed.data.signedTimestamp) : undefined) ?? new Uint8Array(0);
}

function derOf(certificate: { rawBytes: string }): Uint8Array {
  const der = fromBase64(certificate.rawBytes);
  if (!der || der.length === 0) throw signingError("BUNDLE_INVALID", { detail: "a certificate is not base64" });
  return der;
}

/** A certificate of a bundle, read strictly before anything lenient sees it. Throws BUNDLE_INVALID. */
export function readUntrusted(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der);
  } catch (error) {
    const detail = error instanceof ModelkeepError ? error.message : "a certificate";
    throw signingError("BUNDLE_INVALID", { detail, cause: error });
  }
}

/** Throws SIGNING_METHOD_UNSUPPORTED for a key that OMS does not know. */
export function keyOf({ publicKey }: Certificate): TrustedKey {
  const key = trustedKeyOf(publicKey);
  if (key) return key;
  throw signingError("SIGNING_METHOD_UNSUPPORTED", {
    detail: "the key of the certificate is not on P-256, P-384 or P-521",
  });
}
