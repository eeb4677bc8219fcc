/** Whether a timestamp holds: over these bytes, signed by a certificate for stamping alone, which leads to a named authority. */
import { createHash } from "node:crypto";
import { equalBytes } from "../base/index.ts";
import { findCmsSigner, isSignedWith } from "./cms.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { OID } from "./oid.ts";
import type { CertificateName, TimestampToken } from "./tsp.ts";
import type { Certificate } from "./x509.ts";
import { type ChainRule, checkChain, type VerifiedPath } from "./x509-chain.ts";

export interface TimestampCheck {
  readonly token: TimestampToken;
  /** What was stamped. */
  readonly bytes: Uint8Array;
  /** Authorities that are trusted, or a stamping certificate itself. */
  readonly anchors: readonly Certificate[];
}

export type TimestampRule =
  | ChainRule
  | "authority-name"
  | "no-signer"
  | "signing-certificate"
  | "stamping-purpose"
  | "wrong-imprint";

export type TimestampResult =
  | { readonly ok: true; readonly path: VerifiedPath }
  | { readonly ok: false; readonly rule: TimestampRule };

/** The path is judged at the token's own time: a stamping certificate may have expired since. */
export function checkTimestamp({ token, bytes, anchors }: TimestampCheck): TimestampResult {
  const { cms, imprint, authority, certificates, at } = token;
  if (!equalBytes(digestOf(imprint.hash, bytes), imprint.digest)) return refused("wrong-imprint");
  const leaf = findCmsSigner(cms.signer, [...cms.certificates, ...anchors]);
  if (!leaf) return refused("no-signer");
  const [first] = certificates;
  if (!first || !isNamed(leaf, first)) return refused("signing-certificate");
  if (!isForStampingAlone(leaf)) return refused("stamping-purpose");
  if (authority && !equalBytes(authority, leaf.subject.raw)) return refused("authority-name");
  if (!isSignedWith(cms.signer, leaf)) return refused("bad-signature");
  const result = checkChain({
    leaf,
    intermediates: cms.certificates.filter(({ sha256 }) => sha256 !== leaf.sha256),
    anchors: anchors.map((certificate) => ({ certificate })),
    now: at,
    maxDepth: CODEC_LIMITS.chainDepth,
    allowLeafAnchor: true,
    leafRules: { extendedKeyUsage: [OID.timeStamping] },
  });
  if (!result.ok) return refused(result.rule);
  return isPathNamed(result.path, certificates) ? result : refused("signing-certificate");
}

const refused = (rule: TimestampRule): TimestampResult => ({ ok: false, rule });

const digestOf = (hash: string, bytes: Uint8Array) => new Uint8Array(createHash(hash).update(bytes).digest());

function isNamed(certificate: Certificate, { hash, digest, issuer }: CertificateName): boolean {
  if (!equalBytes(digestOf(hash, certificate.raw), digest)) return false;
  if (!issuer) return true;
  return equalBytes(certificate.issuer.raw, issuer.name) && certificate.serialNumber === issuer.serialNumber;
}

/** More than one name limits the path to those that are named (RFC 5035, section 3); the anchor is the caller's. */
function isPathNamed(path: VerifiedPath, names: readonly CertificateName[]): boolean {
  if (names.length === 1) return true;
  return path.slice(0, -1).every((certificate) => names.some((name) => isNamed(certificate, name)));
}

/** RFC 3161, section 2.3: one purpose, critical; and a key usage that is stated is for signatures alone. */
function isForStampingAlone({ extensions, extendedKeyUsage = [], keyUsage }: Certificate): boolean {
  const [only, ...more] = extendedKeyUsage;
  if (only !== OID.timeStamping || more.length > 0) return false;
  if (extensions.get(OID.extendedKeyUsage)?.critical !== true) return false;
  const usages = [...(keyUsage ?? ["digitalSignature"])];
  return usages.every((usage) => usage === "digitalSignature" || usage === "nonRepudiation");
}
