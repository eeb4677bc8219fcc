/** Whether an OCSP response answers for a certificate now: who signed it, about what, and how old it is. */
import { equalBytes } from "../base/index.ts";
import type { RevocationReason } from "./crl.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { digest, namesCertificate, type OcspResponse, type OcspSingle } from "./ocsp.ts";
import { OID } from "./oid.ts";
import type { Certificate } from "./x509.ts";
import { verifySignedBy } from "./x509-algorithm.ts";
import { checkChain } from "./x509-chain.ts";

export interface OcspCheck {
  readonly response: OcspResponse;
  readonly certificate: Certificate;
  /** The certificate's issuer, which was verified before. */
  readonly issuer: Certificate;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** What the request had; the response must repeat it. */
  readonly nonce?: Uint8Array;
  /** How old thisUpdate may be, in milliseconds. */
  readonly maxAgeMs: number;
  /** How far ahead the responder's clock may be. */
  readonly clockSkewMs?: number;
}

export type OcspRule =
  | "bad-signature"
  | "expired"
  | "nonce-mismatch"
  | "not-about-certificate"
  | "not-yet-valid"
  | "responder-not-authorized"
  | "too-old";

export type OcspResult =
  | { readonly status: "good"; readonly single: OcspSingle }
  | {
      readonly status: "revoked";
      readonly single: OcspSingle;
      readonly at: number;
      readonly reason: RevocationReason;
      /** A hold may be lifted again; a caller that accepts it must say so. */
      readonly hold: boolean;
    }
  | { readonly status: "unknown"; readonly single: OcspSingle }
  | { readonly status: "refused"; readonly rule: OcspRule };

/** The answer of a response that is authorized, signed, about this certificate and fresh; refused otherwise. */
export function checkOcsp(input: OcspCheck): OcspResult {
  const { response, certificate, issuer, now, nonce } = input;
  const responder = findResponder(response, issuer, now);
  if (!responder) return refused("responder-not-authorized");
  if (!verifySignedBy(response, responder.publicKey)) return refused("bad-signature");
  if (nonce && !(response.nonce && equalBytes(response.nonce, nonce))) return refused("nonce-mismatch");
  const [single, ...more] = response.singles.filter(({ id }) => namesCertificate(id, certificate, issuer));
  if (!single || more.length > 0) return refused("not-about-certificate");
  const stale = brokenFreshness(single, response.producedAt, now, input);
  if (stale) return refused(stale);
  if (single.status.kind !== "revoked") return { status: single.status.kind, single };
  const { at, reason } = single.status;
  return { status: "revoked", single, at, reason, hold: reason === "certificateHold" };
}

const refused = (rule: OcspRule): OcspResult => ({ status: "refused", rule });

/**
 * The issuer itself, or a certificate that the issuer made for OCSP signing (RFC 6960, section 4.2.2.2): directly,
 * inside its dates, and with the purpose in its extended key usage.
 */
function findResponder(response: OcspResponse, issuer: Certificate, now: number): Certificate | undefined {
  if (isResponder(response, issuer)) return issuer;
  const delegates = response.certificates.filter((one) => isResponder(response, one));
  return delegates.find((delegate) => isDelegate(delegate, issuer, now));
}

function isResponder({ responder }: OcspResponse, certificate: Certificate): boolean {
  if ("name" in responder) return equalBytes(responder.name, certificate.subject.raw);
  return equalBytes(responder.keyHash, digest("sha1", certificate.publicKeyBytes));
}

/** The issuer was verified before, its dates with it. */
function isDelegate(delegate: Certificate, issuer: Certificate, now: number): boolean {
  const { keyUsage } = delegate;
  if (keyUsage && !keyUsage.has("digitalSignature") && !keyUsage.has("nonRepudiation")) return false;
  return checkChain({
    leaf: delegate,
    intermediates: [],
    anchors: [{ certificate: issuer }],
    now,
    maxDepth: 2,
    ignoreAnchorDates: true,
    leafRules: { extendedKeyUsage: [OID.ocspSigning], endEntity: true },
  }).ok;
}

/** Written so that a time which is no number is refused. Without nextUpdate, only the age speaks. */
function brokenFreshness(
  single: OcspSingle,
  producedAt: number,
  now: number,
  { maxAgeMs, clockSkewMs = CODEC_LIMITS.clockSkewMs }: OcspCheck,
): OcspRule | undefined {
  const { thisUpdate, nextUpdate = Number.POSITIVE_INFINITY } = single;
  if (!(thisUpdate <= now + clockSkewMs && producedAt <= now + clockSkewMs)) return "not-yet-valid";
  if (!(now <= nextUpdate)) return "expired";
  return now - thisUpdate <= maxAgeMs ? undefined : "too-old";
}
