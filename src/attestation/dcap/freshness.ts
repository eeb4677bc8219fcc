/** What depends on the date: whether collateral is current, which evaluation it is of, and what has been revoked since. */
import { type Certificate, type Crl, isRevoked, nameToText } from "../../codec/index.ts";
import type { Rules } from "../verdict.ts";
import type { PckChain } from "./certificates.ts";
import type { Collateral } from "./collateral.ts";
import { DCAP_LIMITS } from "./limits.ts";
import type { DcapProfile } from "./profile.ts";
import type { TrustedCollateral } from "./trust.ts";

const ROOT_LIST_TIME = "dcap.root-crl.time";
const DAY = 24 * 60 * 60 * 1000;

export const iso = (time: number) => new Date(time).toISOString();

interface Period {
  readonly issuedAt: number;
  readonly nextUpdateAt: number;
}

/** The oldest issue and the earliest promise among the parts. */
export function periodOf(collateral: Collateral, trusted: TrustedCollateral): Period {
  const periods = periodsOf(collateral, trusted).map(({ period }) => period);
  return {
    issuedAt: Math.min(...periods.map(({ issuedAt }) => issuedAt)),
    nextUpdateAt: Math.min(...periods.map(({ nextUpdateAt }) => nextUpdateAt)),
  };
}

function periodsOf(collateral: Collateral, trusted: TrustedCollateral) {
  const documents = [
    { id: "dcap.tcb-info.time", document: collateral.tcbInfo.content },
    { id: "dcap.qe-identity.time", document: collateral.qeIdentity.content },
  ].map(({ id, document }) => ({
    id,
    period: { issuedAt: document.issueDate, nextUpdateAt: document.nextUpdate },
  }));
  const lists = [
    { id: ROOT_LIST_TIME, crl: trusted.rootCrl },
    { id: "dcap.pck-crl.time", crl: trusted.pckCrl },
  ].flatMap(({ id, crl }) => (crl ? [{ id, period: { issuedAt: crl.thisUpdate, nextUpdateAt: crl.nextUpdate } }] : []));
  return [...documents, ...lists];
}

export function checkFreshness(
  rules: Rules,
  collateral: Collateral,
  trusted: TrustedCollateral,
  profile: DcapProfile,
  now: number,
): void {
  for (const { id, period } of periodsOf(collateral, trusted)) checkPeriod(rules, id, period, profile, now);
  checkAge(rules, oldestMonthly(collateral, trusted), profile, now);
  checkEvaluation(rules, "dcap.tcb-info.evaluation", collateral.tcbInfo.content.tcbEvaluationDataNumber, profile);
  checkEvaluation(rules, "dcap.qe-identity.evaluation", collateral.qeIdentity.content.tcbEvaluationDataNumber, profile);
}

/** Written so that a time which is no number is refused. */
function checkPeriod(rules: Rules, id: string, period: Period, profile: DcapProfile, now: number): void {
  const grace = profile.expired_collateral_grace_days * DAY;
  const begun = now >= period.issuedAt - DCAP_LIMITS.clockSkewSeconds * 1000;
  const current = now < period.nextUpdateAt + grace;
  rules.check(id, begun && current, {
    passed: "It is current.",
    failed: begun ? "It has expired: fetch a newer one." : "It was issued in the future: check the clock.",
    have: `${iso(period.issuedAt)} to ${iso(period.nextUpdateAt)}`,
    need: grace > 0 ? `current, or expired for at most ${profile.expired_collateral_grace_days} days` : "current",
  });
}

/** The root's list is issued once a year and says nothing of how old the rest is. */
function oldestMonthly(collateral: Collateral, trusted: TrustedCollateral): number {
  const monthly = periodsOf(collateral, trusted).filter(({ id }) => id !== ROOT_LIST_TIME);
  return Math.min(...monthly.map(({ period }) => period.issuedAt));
}

function checkAge(rules: Rules, issuedAt: number, profile: DcapProfile, now: number): void {
  const limit = profile.maximum_collateral_age_days;
  const have = `issued ${iso(issuedAt)}`;
  if (limit === undefined) {
    rules.skip("dcap.collateral.age", "The profile names no age of collateral.", { have });
    return;
  }
  rules.check("dcap.collateral.age", now - issuedAt <= limit * DAY, {
    passed: "The collateral is young enough.",
    failed: "The collateral is older than the profile allows: fetch a newer one.",
    have,
    need: `at most ${limit} days old`,
  });
}

/** Old collateral stays correctly signed: only its number tells that Intel has said otherwise since. */
function checkEvaluation(rules: Rules, id: string, number: number, profile: DcapProfile): void {
  const minimum = profile.minimum_tcb_evaluation_data_number;
  const have = String(number);
  if (minimum === undefined) {
    rules.skip(id, "The profile names no evaluation: collateral may be replayed until it expires.", { have });
    return;
  }
  rules.check(id, number >= minimum, {
    passed: "The evaluation is new enough.",
    failed: "The evaluation is older than the profile allows: fetch newer collateral.",
    have,
    need: `at least ${minimum}`,
  });
}

export function checkRevocation(
  rules: Rules,
  machine: PckChain | undefined,
  trusted: TrustedCollateral,
  profile: DcapProfile,
): void {
  const byRoot = [...(machine ? [machine.authority] : []), ...trusted.signers];
  checkRevoked(rules, "dcap.root-crl", trusted.rootCrl, byRoot, profile);
  checkRevoked(rules, "dcap.pck-crl", trusted.pckCrl, machine ? [machine.pck] : [], profile);
}

function checkRevoked(
  rules: Rules,
  id: string,
  crl: Crl | undefined,
  certificates: readonly Certificate[],
  profile: DcapProfile,
): void {
  if (!crl) {
    if (profile.require_revocation_lists)
      rules.fail(id, "The revocation list is missing: fetch it.", { need: "a list" });
    else rules.skip(id, "There is no revocation list, and the profile does not ask for it.");
    return;
  }
  if (certificates.length === 0) {
    rules.skip(id, "No certificate could be read that the list is about.");
    return;
  }
  const revoked = certificates.filter(({ serialNumber }) => isRevoked(crl, serialNumber));
  rules.check(id, revoked.length === 0, {
    passed: "Nothing in use has been revoked.",
    failed: "A certificate in use has been revoked: do not trust this machine.",
    have: revoked.map(({ subject, serialHex }) => `${nameToText(subject)} ${serialHex}`).join("; ") || "none",
    need: "none",
  });
}
