/** Certification paths (RFC 5280, section 6): from a leaf to a named anchor, every rule checked, all at one time. */
import { equalBytes } from "../base/index.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { OID } from "./oid.ts";
import type { Certificate } from "./x509.ts";
import { verifySignedBy } from "./x509-algorithm.ts";
import type { KeyUsage } from "./x509-extensions.ts";
import { nameToText } from "./x509-name.ts";

/** A certificate that is trusted, or the SHA-256 of its DER in hex, when the peer sends the certificate itself. */
export type TrustAnchor = { readonly certificate: Certificate } | { readonly sha256: string };

export interface LeafRules {
  /** Usages that the extension must be there for and name, all of them. */
  readonly keyUsage?: readonly KeyUsage[];
  /** Purposes that the extension must be there for and name, all of them; "any purpose" does not count. */
  readonly extendedKeyUsage?: readonly string[];
  /** Refuse a leaf that has the CA flag. */
  readonly endEntity?: boolean;
}

export interface ChainInput {
  readonly leaf: Certificate;
  /** What the peer sent, in any order, roots among them: trusted for nothing. */
  readonly intermediates: readonly Certificate[];
  readonly anchors: readonly TrustAnchor[];
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Certificates of a path, leaf and anchor counted. */
  readonly maxDepth?: number;
  readonly leafRules?: LeafRules;
  /** Critical extensions that the caller checks itself. */
  readonly understoodCritical?: readonly string[];
  /** An anchor is trusted beyond its own dates. */
  readonly ignoreAnchorDates?: boolean;
  /** The leaf itself may be an anchor. */
  readonly allowLeafAnchor?: boolean;
}

export type ChainRule =
  | "bad-signature"
  | "expired"
  | "extended-key-usage"
  | "key-identifier"
  | "key-usage"
  | "leaf-is-ca"
  | "name-constraints"
  | "name-mismatch"
  | "no-path"
  | "not-a-ca"
  | "not-yet-valid"
  | "path-length"
  | "too-deep"
  | "too-many"
  | "unknown-critical";

declare const verified: unique symbol;

/** Leaf first, anchor last; only `checkChain` makes one. */
export type VerifiedPath = readonly [Certificate, ...Certificate[]] & { readonly [verified]: true };

export type ChainResult =
  | { readonly ok: true; readonly path: VerifiedPath }
  | {
      readonly ok: false;
      readonly rule: ChainRule;
      /** Subject of the certificate that broke the rule, for people. */
      readonly certificate: string;
      /** Its place in the path; 0 is the leaf. */
      readonly index: number;
    };

type Refusal = Extract<ChainResult, { ok: false }>;
type Path = readonly [Certificate, ...Certificate[]];

/** Finds a path of which every certificate keeps every rule; otherwise tells what the longest attempt broke. */
export function checkChain(input: ChainInput): ChainResult {
  if (input.intermediates.length > CODEC_LIMITS.chainCandidates) return refusal("too-many", input.leaf, 0);
  return new PathSearch(input).extend([input.leaf]);
}

function refusal(rule: ChainRule, certificate: Certificate, index: number): Refusal {
  return { ok: false, rule, certificate: nameToText(certificate.subject), index };
}

const sameName = (a: Certificate["subject"], b: Certificate["subject"]) => equalBytes(a.raw, b.raw);

class PathSearch {
  readonly #input: ChainInput;
  readonly #pins: ReadonlySet<string>;
  readonly #offered: readonly Certificate[];
  #signaturesLeft: number = CODEC_LIMITS.chainSignatures;

  constructor(input: ChainInput) {
    this.#input = input;
    this.#pins = new Set(input.anchors.map((anchor) => pinOf(anchor)));
    const trusted = input.anchors.flatMap((anchor) => ("certificate" in anchor ? [anchor.certificate] : []));
    const distinct = new Map([...trusted, ...input.intermediates].map((one) => [one.sha256, one]));
    this.#offered = [...distinct.values()];
  }

  extend(path: Path): ChainResult {
    const index = path.length - 1;
    const last = path[index] ?? path[0];
    if (this.#pins.has(last.sha256) && (index > 0 || this.#input.allowLeafAnchor)) {
      return checkPath(path, this.#input) ?? { ok: true, path: path as VerifiedPath };
    }
    if (path.length >= (this.#input.maxDepth ?? CODEC_LIMITS.chainDepth)) return refusal("too-deep", last, index);
    const candidates = this.#offered.filter((one) => sameName(one.subject, last.issuer) && !path.includes(one));
    let best: Refusal = refusal(candidates.length > 0 ? "no-path" : this.#whyNone(last), last, index);
    for (const candidate of candidates) {
      const result = this.#tryIssuer(path, last, candidate);
      if (result.ok) return result;
      if (best.rule === "no-path" || result.index > best.index) best = result;
    }
    return best;
  }

  #tryIssuer(path: Path, last: Certificate, issuer: Certificate): ChainResult {
    const index = path.length - 1;
    const { authorityKeyIdentifier: wanted } = last;
    const { subjectKeyIdentifier: found } = issuer;
    if (wanted && found && !equalBytes(wanted, found)) return refusal("key-identifier", last, index);
    if (--this.#signaturesLeft < 0) return refusal("too-many", last, index);
    if (!verifySignedBy(last, issuer.publicKey)) return refusal("bad-signature", last, index);
    return this.extend([...path, issuer]);
  }

  /** A name that reads the same and is written in other bytes is another name; the refusal says so. */
  #whyNone(last: Certificate): ChainRule {
    const wanted = nameToText(last.issuer);
    const alike = this.#offered.some((one) => !sameName(one.subject, last.issuer) && looksLike(one, wanted));
    return alike ? "name-mismatch" : "no-path";
  }
}

const looksLike = (certificate: Certificate, name: string) =>
  nameToText(certificate.subject).normalize("NFKC").toLowerCase() === name.normalize("NFKC").toLowerCase();

const pinOf = (anchor: TrustAnchor) =>
  "certificate" in anchor ? anchor.certificate.sha256 : anchor.sha256.toLowerCase();

/** The rules that need no search; undefined when all are kept. */
function checkPath(path: Path, input: ChainInput): Refusal | undefined {
  let authoritiesBelow = 0;
  for (const [index, certificate] of path.entries()) {
    const isAnchor = index === path.length - 1;
    const rule =
      (isAnchor && input.ignoreAnchorDates ? undefined : brokenDate(certificate, input.now)) ??
      brokenExtension(certificate, input) ??
      (index > 0 ? brokenAuthority(certificate, authoritiesBelow, isAnchor, input) : brokenLeaf(certificate, input));
    if (rule) return refusal(rule, certificate, index);
    if (index > 0 && !sameName(certificate.subject, certificate.issuer)) authoritiesBelow++;
  }
  return undefined;
}

/** Written so that a time which is no number is refused. */
function brokenDate(certificate: Certificate, now: number): ChainRule | undefined {
  if (!(now >= certificate.notBefore)) return "not-yet-valid";
  return now <= certificate.notAfter ? undefined : "expired";
}

/** Name constraints are not evaluated, critical or not: a certificate that has them is refused. */
function brokenExtension(certificate: Certificate, input: ChainInput): ChainRule | undefined {
  const understood = new Set(input.understoodCritical);
  if (certificate.extensions.has(OID.nameConstraints) && !understood.has(OID.nameConstraints)) {
    return "name-constraints";
  }
  return certificate.unknownCritical.every((oid) => understood.has(oid)) ? undefined : "unknown-critical";
}

function brokenAuthority(
  certificate: Certificate,
  authoritiesBelow: number,
  isAnchor: boolean,
  input: ChainInput,
): ChainRule | undefined {
  const { basicConstraints, keyUsage, extendedKeyUsage } = certificate;
  if (!basicConstraints?.ca) return "not-a-ca";
  if (keyUsage && !keyUsage.has("keyCertSign")) return "key-usage";
  if (authoritiesBelow > (basicConstraints.pathLength ?? Number.POSITIVE_INFINITY)) return "path-length";
  if (isAnchor || !extendedKeyUsage || extendedKeyUsage.includes(OID.anyExtendedKeyUsage)) return undefined;
  const needed = input.leafRules?.extendedKeyUsage ?? [];
  return needed.every((purpose) => extendedKeyUsage.includes(purpose)) ? undefined : "extended-key-usage";
}

function brokenLeaf(certificate: Certificate, input: ChainInput): ChainRule | undefined {
  const { keyUsage, extendedKeyUsage, endEntity } = input.leafRules ?? {};
  if (endEntity && certificate.basicConstraints?.ca) return "leaf-is-ca";
  if (keyUsage?.some((usage) => !certificate.keyUsage?.has(usage))) return "key-usage";
  if (extendedKeyUsage?.some((purpose) => !certificate.extendedKeyUsage?.includes(purpose))) {
    return "extended-key-usage";
  }
  return undefined;
}
