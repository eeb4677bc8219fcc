/** Revocation lists (RFC 5280, section 5): complete lists of one issuer about its own certificates, nothing else. */
import { createHash } from "node:crypto";
import { equalBytes } from "../base/index.ts";
import { readPointNames } from "./crl-points.ts";
import { DER_TAG, type DerNode, parseDer } from "./der.ts";
import { DerFields, derInner, derInteger, derSequence, derSmallInteger, derTime, isUniversal } from "./der-read.ts";
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { OID } from "./oid.ts";
import { type Certificate, checkInnerAlgorithm, readSigned } from "./x509.ts";
import { readSignatureAlgorithm, type SignedDer, verifySignedBy } from "./x509-algorithm.ts";
import { type Extensions, readAuthorityKeyIdentifier, readExtensions } from "./x509-extensions.ts";
import { readName, type X509Name } from "./x509-name.ts";

/** CRLReason by its number (section 5.3.1); 7 is not used. */
const REASONS = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "certificateHold",
  undefined,
  "removeFromCRL",
  "privilegeWithdrawn",
  "aACompromise",
] as const;
export type RevocationReason = NonNullable<(typeof REASONS)[number]>;

export interface Revocation {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly reason: RevocationReason;
  /** Since when the key may have been another's (section 5.3.2), where the issuer says so. */
  readonly invalidSince?: number;
}

export interface Crl extends SignedDer {
  readonly raw: Uint8Array;
  /** SHA-256 of `raw`, lower-case hex. */
  readonly sha256: string;
  readonly issuer: X509Name;
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Undefined when the list has none, as lists of old tools. */
  readonly number: bigint | undefined;
  readonly authorityKeyIdentifier: Uint8Array | undefined;
  readonly revoked: ReadonlyMap<bigint, Revocation>;
  /** What an issuing distribution point says of a partial list. */
  readonly scope: "all" | "users" | "authorities";
  /** The names of a point when the issuer may keep lists for several: see `isOfPoint`. */
  readonly points: readonly string[] | undefined;
}

const refuse = (why: string) => codecError("CRL_INVALID", { detail: why });

/**
 * Throws DER_INVALID, X509_INVALID or CRL_INVALID: the last without nextUpdate, and for delta, indirect and
 * reason-limited lists.
 */
export function parseCrl(der: Uint8Array): Crl {
  const limits = { maxBytes: CODEC_LIMITS.crlBytes, maxNodes: CODEC_LIMITS.crlNodes };
  const raw = Uint8Array.from(der);
  const { tbs, algorithmNode, signature } = readSigned(parseDer(raw, limits));
  const fields = new DerFields(tbs);
  if (derSmallInteger(fields.take()) !== 1) throw refuse("not version 2");
  checkInnerAlgorithm(fields.take(), algorithmNode);
  const issuer = readName(fields.take());
  const thisUpdate = derTime(fields.take());
  const nextUpdate = fields.takeIf(isTime);
  const entries = fields.takeUniversal(DER_TAG.sequence);
  const tagged = fields.takeContext(0);
  fields.end();
  if (!nextUpdate) throw refuse("no nextUpdate");
  return {
    raw,
    sha256: createHash("sha256").update(raw).digest("hex"),
    tbs: tbs.raw,
    signatureAlgorithm: readSignatureAlgorithm(algorithmNode),
    signature,
    issuer,
    thisUpdate,
    nextUpdate: derTime(nextUpdate),
    ...readListExtensions(tagged ? readExtensions(derInner(tagged)) : new Map()),
    revoked: readEntries(entries),
  };
}

const isTime = (node: DerNode) => isUniversal(node, DER_TAG.utcTime) || isUniversal(node, DER_TAG.generalizedTime);

const LIST_EXTENSIONS = new Set<string>([OID.authorityKeyIdentifier, OID.crlNumber, OID.issuingDistributionPoint]);

type ListWords = "number" | "authorityKeyIdentifier" | "scope" | "points";

function readListExtensions(extensions: Extensions): Pick<Crl, ListWords> {
  if (extensions.has(OID.deltaCrlIndicator)) throw refuse("a delta list");
  refuseUnknownCritical(extensions, LIST_EXTENSIONS);
  const authority = extensions.get(OID.authorityKeyIdentifier);
  const number = extensions.get(OID.crlNumber);
  const point = extensions.get(OID.issuingDistributionPoint);
  return {
    number: number && readInteger(parseDer(number.value)),
    authorityKeyIdentifier: authority && readAuthorityKeyIdentifier(parseDer(authority.value)),
    ...(point ? readScope(parseDer(point.value)) : { scope: "all", points: undefined }),
  };
}

function refuseUnknownCritical(extensions: Extensions, known: ReadonlySet<string>): void {
  for (const [oid, { critical }] of extensions) {
    if (critical && !known.has(oid)) throw refuse(`critical extension ${oid}`);
  }
}

/** IssuingDistributionPoint (section 5.2.5): what the list leaves out. */
function readScope(node: DerNode): Pick<Crl, "scope" | "points"> {
  const fields = new DerFields(node);
  const point = fields.takeContext(0);
  const [users, authorities, reasons, indirect, attributes] = [1, 2, 3, 4, 5].map((tag) => fields.takeContext(tag));
  fields.end();
  if (reasons || isTrue(indirect) || isTrue(attributes)) throw refuse("an indirect list, or one of some reasons");
  if (isTrue(users) && isTrue(authorities)) throw refuse("a list of nothing");
  const scope = isTrue(users) ? "users" : isTrue(authorities) ? "authorities" : "all";
  return { scope, points: point && readPointNames(point) };
}

const isTrue = (node: DerNode | undefined) => node !== undefined && node.content[0] !== 0;

const ENTRY_EXTENSIONS = new Set<string>([OID.crlReason, OID.invalidityDate]);

function readEntries(node: DerNode | undefined): ReadonlyMap<bigint, Revocation> {
  const entries = node ? derSequence(node) : [];
  if (entries.length > CODEC_LIMITS.crlEntries) throw refuse(`${entries.length} entries`);
  const found = new Map<bigint, Revocation>();
  for (const entry of entries) {
    const fields = new DerFields(entry);
    const serial = readInteger(fields.take());
    const at = derTime(fields.take());
    const extensions = fields.takeIf(() => true);
    fields.end();
    if (found.has(serial)) throw refuse("a serial number twice");
    found.set(serial, { at, ...(extensions ? readEntry(readExtensions(extensions)) : { reason: "unspecified" }) });
  }
  return found;
}

function readInteger(node: DerNode): bigint {
  if (node.content.length > CODEC_LIMITS.serialOctets) throw refuse("length of a number");
  return derInteger(node);
}

function readEntry(extensions: Extensions): Omit<Revocation, "at"> {
  if (extensions.has(OID.certificateIssuer)) throw refuse("an entry of another issuer");
  refuseUnknownCritical(extensions, ENTRY_EXTENSIONS);
  const said = extensions.get(OID.crlReason);
  const invalidity = extensions.get(OID.invalidityDate);
  const reason = said ? readReason(parseDer(said.value)) : "unspecified";
  return invalidity ? { reason, invalidSince: derTime(parseDer(invalidity.value)) } : { reason };
}

/** CRLReason, an ENUMERATED. A complete list does not say "removed". */
export function readReason(node: DerNode): RevocationReason {
  const reason = isUniversal(node, DER_TAG.enumerated) ? REASONS[derSmallInteger(node)] : undefined;
  if (!reason || reason === "removeFromCRL") throw refuse("an unknown reason");
  return reason;
}

export type CrlRule =
  | "bad-signature"
  | "expired"
  | "incomplete"
  | "issuer-mismatch"
  | "key-identifier"
  | "key-usage"
  | "not-a-ca"
  | "not-yet-valid";

export type CrlResult = { readonly ok: true } | { readonly ok: false; readonly rule: CrlRule };

export interface CrlCheck {
  readonly crl: Crl;
  /** A certificate that was verified before. */
  readonly issuer: Certificate;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Refuse a list without number or authority key identifier, which RFC 5280 asks of issuers. */
  readonly requireIdentifiers?: boolean;
}

/** Whether the issuer made this list and it is current: thisUpdate <= now < nextUpdate. `scope` and `points` are the caller's. */
export function checkCrl(input: CrlCheck): CrlResult {
  const { crl, issuer, now, requireIdentifiers } = input;
  const incomplete = requireIdentifiers && (crl.number === undefined || !crl.authorityKeyIdentifier);
  const rule = incomplete ? "incomplete" : brokenRule(crl, issuer, now);
  return rule ? { ok: false, rule } : { ok: true };
}

function brokenRule(crl: Crl, issuer: Certificate, now: number): CrlRule | undefined {
  if (!equalBytes(crl.issuer.raw, issuer.subject.raw)) return "issuer-mismatch";
  const [wanted, found] = [crl.authorityKeyIdentifier, issuer.subjectKeyIdentifier];
  if (wanted && found && !equalBytes(wanted, found)) return "key-identifier";
  if (!issuer.basicConstraints?.ca) return "not-a-ca";
  if (issuer.keyUsage && !issuer.keyUsage.has("cRLSign")) return "key-usage";
  if (!verifySignedBy(crl, issuer.publicKey)) return "bad-signature";
  if (!(now >= crl.thisUpdate)) return "not-yet-valid";
  return now < crl.nextUpdate ? undefined : "expired";
}

/** The entry of this serial number. A hold counts as revoked; its reason says `certificateHold`. */
export function findRevocation(crl: Crl, serialNumber: bigint): Revocation | undefined {
  return crl.revoked.get(serialNumber);
}

export function isRevoked(crl: Crl, serialNumber: bigint): boolean {
  return crl.revoked.has(serialNumber);
}
