/** The method "certificate": a key whose certificate leads to an authority that the caller names. */
import { ModelkeepError } from "../../base/index.ts";
import {
  type Certificate,
  type ChainResult,
  type ChainRule,
  checkChain,
  type DsseEnvelope,
  nameToText,
  OID,
} from "../../codec/index.ts";
import { signedPart, verifyEnvelope } from "../envelope.ts";
import { signingError } from "../errors.ts";
import { keyIdOf, type ModelSigner, pemOf } from "../keys.ts";
import { SIGNING_LIMITS } from "../limits.ts";
import { revocationFault } from "../revocation.ts";
import type { SignedPayload } from "../signer.ts";
import { readTimes, type SeenTimes, type TrustedTime } from "../timestamps/verify.ts";
import { readCertificates, type Trust } from "../trust.ts";
import { keyOf, type Material, readUntrusted } from "./material.ts";
import { alternativeNames, isSubject, subjectText } from "./subject.ts";

type CertificateMaterial = Extract<Material, { method: "certificate" }>;

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
  material: CertificateMaterial,
  trust: Trust,
): SignedPayload {
  const { authorities } = trust;
  if (!authorities || authorities.members.length === 0) {
    throw signingError("SIGNER_NOT_TRUSTED", {
      detail: "signed with a certificate, and no authority is trusted",
      hint: "name the authority with --ca and the signer with --subject",
    });
  }
  const [leaf, ...candidates] = material.certificates.map(readUntrusted);
  if (!leaf) throw signingError("BUNDLE_INVALID", { detail: "no certificate" });
  const seen = readTimes(material.timestamps, signedPart(envelope).signature, trust);
  const { anchor, seenAt } = findAuthority(
    { leaf, candidates, seen, isStamped: material.timestamps.length > 0 },
    trust,
  );
  const key = keyOf(leaf);
  const { payload } = verifyEnvelope(envelope, { publicKeys: [key] });
  const names = { subject: subjectText(leaf), alternativeNames: alternativeNames(leaf) };
  const signer = { method: "certificate", ...names, caDigest: anchor.sha256 } as const;
  return { payload, signerKey: key, signer, seenAt };
}

interface Claim {
  readonly leaf: Certificate;
  readonly candidates: readonly Certificate[];
  readonly seen: SeenTimes;
  readonly isStamped: boolean;
}

interface Accepted {
  readonly anchor: Certificate;
  /** The earliest time at which the path was valid and the signature there. */
  readonly seenAt: TrustedTime | undefined;
}

/** The first member whose anchor the path leads to and whose subject it is; what fails for all is told of the last. */
function findAuthority(claim: Claim, trust: Trust): Accepted {
  const { leaf } = claim;
  const fault = leafFault(leaf);
  if (fault) throw notTrusted(leaf, fault);
  let why: ModelkeepError | undefined;
  for (const member of trust.authorities?.members ?? []) {
    const judged = judgePath(claim, member.anchor, trust);
    if (judged instanceof ModelkeepError) why ??= judged;
    else if (member.subject === undefined || isSubject(leaf, member.subject)) return judged;
    else why = signingError("SIGNER_NOT_TRUSTED", { detail: JSON.stringify(subjectText(leaf).slice(0, 200)) });
  }
  throw why ?? notTrusted(leaf, "no-path");
}

/** Valid now, or at a time at which somebody trusted saw the signature; and nothing on the way was revoked before. */
function judgePath(claim: Claim, anchor: Certificate, trust: Trust): Accepted | ModelkeepError {
  const { leaf, candidates, seen } = claim;
  const atMs = trust.authorities?.atMs ?? Number.NaN;
  const now = walk(leaf, candidates, anchor, atMs);
  const then = seen.times.map((seenAt) => ({ seenAt, result: walkThen(claim, anchor, seenAt) }));
  const first = then.find(({ result }) => result.ok);
  const found = now.ok ? now : first?.result;
  if (!found?.ok) return outOfTime(claim, now);
  const seenAt = first?.seenAt;
  const fault = trust.revocation && revocationFault(found.path, { atMs, seen: seenAt }, trust.revocation);
  if (!fault) return { anchor, seenAt };
  const detail = `${JSON.stringify(subjectText(fault.certificate).slice(0, 200))}: ${fault.detail}`;
  return signingError(fault.kind === "revoked" ? "CERTIFICATE_REVOKED" : "REVOCATION_UNKNOWN", { detail });
}

/** A time is as exact as who gave it says: both ends of what it may have been count. */
function walkThen({ leaf, candidates }: Claim, anchor: Certificate, { atMs, accuracyMs }: TrustedTime): ChainResult {
  const latest = walk(leaf, candidates, anchor, atMs + accuracyMs);
  return latest.ok ? walk(leaf, candidates, anchor, atMs) : latest;
}

function outOfTime({ leaf, seen, isStamped }: Claim, result: ChainResult): ModelkeepError {
  const rule = result.ok ? "no-path" : result.rule;
  if (rule !== "expired" || !isStamped) return notTrusted(leaf, rule);
  const why = seen.faults.length > 0 ? ` (its timestamps: ${seen.faults.join(", ")})` : "";
  return notTrusted(leaf, rule, why, "name the authority that stamped the signature while it was valid with --tsa");
}

function notTrusted(leaf: Certificate, rule: ChainRule, why = "", hint?: string): ModelkeepError {
  const detail = `${rule}: ${JSON.stringify(subjectText(leaf).slice(0, 200))}${why}`;
  return signingError("CERTIFICATE_NOT_TRUSTED", { detail, extra: { rule }, ...(hint === undefined ? {} : { hint }) });
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
