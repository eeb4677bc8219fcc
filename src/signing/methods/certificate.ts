/** The method "certificate": a key whose certificate leads to an authority that the caller names. */
import type { ModelkeepError } from "../../base/index.ts";
import {
  type Certificate,
  type ChainResult,
  type ChainRule,
  checkChain,
  type DsseEnvelope,
  nameToText,
  OID,
} from "../../codec/index.ts";
import { verifyEnvelope } from "../envelope.ts";
import { signingError } from "../errors.ts";
import { keyIdOf, type ModelSigner, pemOf } from "../keys.ts";
import { SIGNING_LIMITS } from "../limits.ts";
import type { SignedPayload } from "../signer.ts";
import { type AuthorityTrust, readCertificates, type Trust, type TrustedAuthority } from "../trust.ts";
import { keyOf, readUntrusted } from "./material.ts";
import { alternativeNames, isSubject, subjectText } from "./subject.ts";

export interface CertificateFiles {
  /** PEM of the signer's own certificate; others after it count as the chain. */
  readonly certificate: string | Uint8Array;
  /** PEM of what leads from it to the authority. */
  readonly chain?: string | Uint8Array;
}

/**
 * The same signer, whose bundles carry its certificates. Refuses with CERTIFICATE_INVALID what no verifier would
 * accept at `nowMs`: another key, a broken or expired path, a certificate that is not for signing.
 */
export function withCertificates(signer: ModelSigner, files: CertificateFiles, nowMs: number): ModelSigner {
  const [leaf, ...rest] = readCertificates(files.certificate);
  const chain = [...rest, ...(files.chain === undefined ? [] : readCertificates(files.chain))];
  if (!leaf || chain.length >= SIGNING_LIMITS.chainCertificates)
    throw signingError("CERTIFICATE_INVALID", { detail: `over ${SIGNING_LIMITS.chainCertificates} certificates` });
  if (keyIdOf(pemOf(leaf.publicKey)) !== signer.keyId)
    throw signingError("CERTIFICATE_INVALID", { detail: "it is of another key than the signing key" });
  const why = leafFault(leaf) ?? pathFault(leaf, chain, nowMs);
  if (why) throw signingError("CERTIFICATE_INVALID", { detail: why });
  const { publicKeyPem, keyId } = signer;
  const certificates = [leaf, ...chain].map(({ raw }) => raw);
  return { publicKeyPem, keyId, certificates, sign: (bytes) => signer.sign(bytes) };
}

/** A chain without a self-signed end leads to its last certificate. */
function pathFault(leaf: Certificate, chain: readonly Certificate[], now: number): string | undefined {
  const anchor = chain.at(-1);
  if (!anchor) return now < leaf.notBefore || now > leaf.notAfter ? "expired" : undefined;
  const result = walk(leaf, chain, anchor, now);
  return result.ok ? undefined : result.rule;
}

function walk(leaf: Certificate, candidates: readonly Certificate[], anchor: Certificate, now: number): ChainResult {
  const intermediates = candidates.filter(({ sha256 }) => sha256 !== anchor.sha256 && sha256 !== leaf.sha256);
  const result = checkChain({
    leaf,
    intermediates,
    anchors: [{ certificate: anchor }],
    now,
    maxDepth: SIGNING_LIMITS.chainCertificates + 1,
  });
  const narrowed = result.ok && result.path.slice(1, -1).find((authority) => !mayBeForCode(authority));
  if (!narrowed) return result;
  return { ok: false, rule: "extended-key-usage", certificate: nameToText(narrowed.subject), index: 1 };
}

/** Every certificate of the bundle is a stranger's word; only the anchors of the caller are believed. */
export function verifyWithCertificate(
  envelope: DsseEnvelope,
  ders: readonly Uint8Array[],
  { authorities }: Trust,
): SignedPayload {
  if (!authorities || authorities.members.length === 0) {
    throw signingError("SIGNER_NOT_TRUSTED", {
      detail: "signed with a certificate, and no authority is trusted",
      hint: "name the authority with --ca",
    });
  }
  const [leaf, ...candidates] = ders.map(readUntrusted);
  if (!leaf) throw signingError("BUNDLE_INVALID", { detail: "no certificate" });
  const { anchor } = findAuthority(leaf, candidates, authorities);
  const key = keyOf(leaf);
  const { payload } = verifyEnvelope(envelope, { publicKeys: [key] });
  const names = { subject: subjectText(leaf), alternativeNames: alternativeNames(leaf) };
  return { payload, signerKey: key, signer: { method: "certificate", ...names, caDigest: anchor.sha256 } };
}

/** The first member whose anchor the path leads to and whose subject it is; what fails for all is told of the last. */
function findAuthority(
  leaf: Certificate,
  candidates: readonly Certificate[],
  { members, atMs }: AuthorityTrust,
): TrustedAuthority {
  const fault = leafFault(leaf);
  if (fault) throw notTrusted(leaf, fault);
  let why: ModelkeepError | undefined;
  for (const member of members) {
    const result = walk(leaf, candidates, member.anchor, atMs);
    if (!result.ok) why ??= notTrusted(leaf, result.rule);
    else if (member.subject === undefined || isSubject(leaf, member.subject)) return member;
    else why = signingError("SIGNER_NOT_TRUSTED", { detail: JSON.stringify(subjectText(leaf).slice(0, 200)) });
  }
  throw why ?? notTrusted(leaf, "no-path");
}

function notTrusted(leaf: Certificate, rule: ChainRule): ModelkeepError {
  const detail = `${rule}: ${JSON.stringify(subjectText(leaf).slice(0, 200))}`;
  return signingError("CERTIFICATE_NOT_TRUSTED", { detail, extra: { rule } });
}

/**
 * OMS asks for the usage digitalSignature or the purpose codeSigning. Stricter here: what is stated must allow it, so
 * that no server's certificate of the same authority signs a model.
 */
function leafFault(leaf: Certificate): ChainRule | undefined {
  const { keyUsage, extendedKeyUsage } = leaf;
  if (!keyUsage && !extendedKeyUsage) return "key-usage";
  if (keyUsage && !keyUsage.has("digitalSignature")) return "key-usage";
  return mayBeForCode(leaf) ? undefined : "extended-key-usage";
}

/** Without stated purposes a certificate is for all of them. */
function mayBeForCode({ extendedKeyUsage }: Pick<Certificate, "extendedKeyUsage">): boolean {
  const purposes = extendedKeyUsage ?? [OID.anyExtendedKeyUsage];
  return purposes.includes(OID.codeSigning) || purposes.includes(OID.anyExtendedKeyUsage);
}
