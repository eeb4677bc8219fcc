/** Whether a certificate of a verified path was revoked, by the lists that the caller has; nothing is fetched. */
import {
  type Certificate,
  type Crl,
  checkCrl,
  findRevocation,
  isOfPoint,
  type Revocation,
  type RevocationReason,
} from "../codec/index.ts";
import type { RevocationTrust } from "./trust.ts";

/** When a signature is judged, and when somebody trusted saw it. */
export interface Moment {
  readonly atMs: number;
  readonly seen?: { readonly atMs: number; readonly accuracyMs: number } | undefined;
}

export interface RevocationFault {
  readonly kind: "revoked" | "revocation-unknown";
  readonly certificate: Certificate;
  readonly detail: string;
}

/** Reasons that reach back: whoever has the key can sign, and have stamped, whatever he likes under any date. */
export type Reach = (reason: RevocationReason) => boolean;
const COMPROMISE = new Set<RevocationReason>(["keyCompromise", "cACompromise", "aACompromise"]);
export const SIGNING: Reach = (reason) => COMPROMISE.has(reason);
/** RFC 3161, section 4: earlier timestamps stay valid for these reasons alone. */
const HARMLESS = new Set<RevocationReason>(["affiliationChanged", "superseded", "cessationOfOperation"]);
export const STAMPING: Reach = (reason) => !HARMLESS.has(reason);

/** Every certificate below the anchor, which the caller trusts himself; undefined when none was revoked. */
export function revocationFault(
  path: readonly Certificate[],
  moment: Moment,
  trust: RevocationTrust,
  reachesBack: Reach = SIGNING,
): RevocationFault | undefined {
  for (const [index, certificate] of path.slice(0, -1).entries()) {
    const issuer = path[index + 1];
    const fault = issuer && faultOf(certificate, issuer, moment, trust, reachesBack);
    if (fault) return fault;
  }
  return undefined;
}

function faultOf(
  certificate: Certificate,
  issuer: Certificate,
  moment: Moment,
  { crls, required }: RevocationTrust,
  reachesBack: Reach,
): RevocationFault | undefined {
  const fault = (kind: RevocationFault["kind"], detail: string) => ({ kind, certificate, detail });
  const lists = crls.filter((crl) => isAbout(crl, certificate, issuer));
  const genuine = lists.filter((crl) => !isForged(crl, issuer, moment)).sort((a, b) => b.thisUpdate - a.thisUpdate);
  const whole = genuine.filter(({ points }) => isOfPoint(points, certificate));
  for (const crl of genuine) {
    const entry = findRevocation(crl, certificate.serialNumber);
    if (!entry || (entry.reason === "certificateHold" && isOlder(crl, whole[0]))) continue;
    if (!isLater(entry, moment, reachesBack)) return fault("revoked", whenText(entry));
  }
  if (whole.some((crl) => covers(crl, certificate, moment))) return undefined;
  if (lists.length > 0) return fault("revocation-unknown", "none of its issuer's lists is in force and about it");
  return required ? fault("revocation-unknown", "there is no list of its issuer") : undefined;
}

/** A hold may be lifted: the newest list says whether it was. */
function isOlder(crl: Crl, newest: Crl | undefined): boolean {
  return newest !== undefined && newest !== crl && newest.thisUpdate >= crl.thisUpdate;
}

function isAbout(crl: Crl, { basicConstraints }: Certificate, issuer: Certificate): boolean {
  const scope = basicConstraints?.ca ? "authorities" : "users";
  const sameIssuer = Buffer.compare(crl.issuer.raw, issuer.subject.raw) === 0;
  return sameIssuer && (crl.scope === "all" || crl.scope === scope);
}

/** Not made by this issuer, or from the future; a list that has grown old is still its word on what was revoked. */
function isForged(crl: Crl, issuer: Certificate, { atMs }: Moment): boolean {
  const result = checkCrl({ crl, issuer, now: atMs });
  return !result.ok && result.rule !== "expired";
}

/**
 * In force now. Of what has expired issuers may keep no word (RFC 5280, section 3.3): there a list from before its end
 * counts that was in force when the signature was seen, or was made later.
 */
function covers(crl: Crl, { notAfter }: Certificate, { atMs, seen }: Moment): boolean {
  const from = seen && notAfter < atMs ? seen.atMs : atMs;
  return crl.nextUpdate > from && crl.thisUpdate <= notAfter;
}

/** The signature was certainly there before. */
function isLater({ at, invalidSince = at, reason }: Revocation, { seen }: Moment, reachesBack: Reach): boolean {
  return seen !== undefined && !reachesBack(reason) && seen.atMs + seen.accuracyMs < Math.min(at, invalidSince);
}

const whenText = ({ at, reason }: Revocation) => `${reason}, ${isoText(at)}`;
const isoText = (ms: number) => new Date(ms).toISOString();
