/** Finds in a set of collateral what AMD says of one processor: the certificate of its key, the chain, the lists. */
import type { Certificate, Crl } from "../../codec/index.ts";
import { refusedRule } from "../errors.ts";
import { parseSnpReport, type SnpReport } from "../snp/evidence.ts";
import type { SnpAnchors } from "../snp/products.ts";
import type { SnpProfile } from "../snp/profile.ts";
import { readVek, sameChip, sameTcb, vekKindOf } from "../snp/vek.ts";
import type { SnpJudge } from "../snp/verifier.ts";
import { verifySnp } from "../snp/verify.ts";
import type { CollateralSet } from "./set.ts";

const AMD_NAME = /^(?:ARK|SEV)-/;

export interface SnpCollateral {
  readonly certificates: readonly Certificate[];
  readonly crls: readonly Crl[];
}

/** Of many keys' certificates only the one for this report is taken, or else the first: then its rules say what is wrong. */
export function findSnpCollateral(set: CollateralSet, report: Uint8Array): SnpCollateral {
  const amd = set.certificates.filter(({ subject }) => AMD_NAME.test(subject.commonName ?? ""));
  const keys = amd.filter((certificate) => vekKindOf(certificate) !== undefined);
  const parsed = attempt(() => parseSnpReport(report));
  const key = keys.find((certificate) => parsed !== undefined && isFor(certificate, parsed)) ?? keys[0];
  return {
    certificates: [...(key ? [key] : []), ...distinct(amd.filter((one) => vekKindOf(one) === undefined))],
    crls: distinct(set.crls.filter(({ issuer }) => AMD_NAME.test(issuer.commonName ?? ""))),
  };
}

/** Judges with the collateral of the set; what the guest brought comes first. */
export function snpJudgeOf(set: CollateralSet, profile: SnpProfile, anchors?: SnpAnchors): SnpJudge {
  return ({ report, certificates }, now, expectedReportData) => {
    const found = findSnpCollateral(set, report);
    return verifySnp({
      ...{ report, profile, now, crls: found.crls },
      certificates: [...certificates, ...found.certificates],
      ...(expectedReportData ? { expectedReportData } : {}),
      ...(anchors ? { anchors } : {}),
    });
  };
}

function isFor(certificate: Certificate, report: SnpReport): boolean {
  const vek = attempt(() => readVek(certificate));
  if (!vek || vekKindOf(certificate) !== report.signingKey || !sameTcb(vek.tcb, report.tcb.reported)) return false;
  return vek.hardwareId === undefined || sameChip(vek.hardwareId, report.chipId);
}

function distinct<T extends { readonly sha256: string }>(items: readonly T[]): T[] {
  return [...new Map(items.map((item) => [item.sha256, item])).values()];
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (refusedRule(error) === undefined) throw error;
    return undefined;
  }
}
