/** Stands behind the interface of every TEE: evidence of a guest in, branded claims out. */
import { parseCertificate, parseCrl } from "../../codec/index.ts";
import type { EvidenceVerifier } from "../attestation.ts";
import { brandClaims } from "../claims.ts";
import { evidenceRefused } from "../errors.ts";
import type { Verdict } from "../verdict.ts";
import { parseCertificateTable } from "./certificate-table.ts";
import type { SnpClaims } from "./claims.ts";
import { parseKbsEvidence } from "./kbs-evidence.ts";
import { SNP_LIMITS } from "./limits.ts";
import type { SnpAnchors } from "./products.ts";
import type { SnpProfile } from "./profile.ts";
import { verifySnp } from "./verify.ts";

export const SNP_KIND = "snp";

export interface SnpEvidence {
  /** 1184 bytes. */
  readonly report: Uint8Array;
  /** DER, in the order in which the guest brought them. */
  readonly certificates: readonly Uint8Array[];
}

export interface SnpVerifierOptions {
  readonly profile: SnpProfile;
  /** DER of certificates that guests need not bring: ASK, ASVK, ARK. They are judged like those of the guest. */
  readonly chain?: readonly Uint8Array[];
  /** DER of AMD's revocation lists. */
  readonly crls?: readonly Uint8Array[];
  /** Other roots than AMD's, for tests with roots of their own. */
  readonly anchors?: SnpAnchors;
}

/**
 * Evidence is the report, followed by the certificate table of the host where there is one, or the JSON of the KBS
 * protocol. Throws X509_INVALID or DER_INVALID at once for a chain or a list that cannot be read.
 */
export function createSnpVerifier(options: SnpVerifierOptions): EvidenceVerifier {
  const judge = createSnpJudge(options);
  return {
    kind: SNP_KIND,
    async verify(evidence, expectedReportData, now) {
      if (evidence.kind !== SNP_KIND) throw evidenceRefused("evidence.kind");
      const verdict = judge(parseSnpEvidence(evidence.data), now, expectedReportData);
      return brandSnpClaims(SNP_KIND, verdict, expectedReportData);
    },
  };
}

export type SnpJudge = (evidence: SnpEvidence, now: number, expectedReportData?: Uint8Array) => Verdict<SnpClaims>;

/** Reads chain and lists once; every judgement still checks their signatures and dates. */
export function createSnpJudge(options: SnpVerifierOptions): SnpJudge {
  const chain = (options.chain ?? []).map((der) => parseCertificate(der));
  const crls = (options.crls ?? []).map((der) => parseCrl(der));
  const { profile, anchors } = options;
  return (evidence, now, expectedReportData) =>
    verifySnp({
      report: evidence.report,
      certificates: [...evidence.certificates, ...chain],
      crls,
      profile,
      now,
      ...(expectedReportData ? { expectedReportData } : {}),
      ...(anchors ? { anchors } : {}),
    });
}

/** Throws EVIDENCE_REFUSED with the first failed rule. */
export function brandSnpClaims(kind: string, { verdict, rules, claims }: Verdict<SnpClaims>, reportData: Uint8Array) {
  const failed = rules.find(({ result }) => result === "failed");
  if (failed) throw evidenceRefused(failed.id);
  if (verdict !== "accepted" || !claims) throw evidenceRefused("snp.report.format");
  const { measurement, debug, product } = claims;
  return brandClaims({ kind, measurement, debug, reportData: reportData.slice(), ...(product ? { product } : {}) });
}

const OPENING_BRACE = 0x7b;

/** Throws EVIDENCE_REFUSED with `snp.evidence.format`, `snp.report.length` or `snp.table.format`. */
export function parseSnpEvidence(data: Uint8Array): SnpEvidence {
  if (data[0] === OPENING_BRACE) return parseKbsEvidence(data);
  if (data.length < SNP_LIMITS.reportBytes) throw evidenceRefused("snp.report.length");
  const table = parseCertificateTable(data.subarray(SNP_LIMITS.reportBytes));
  const certificates = table.filter(({ kind }) => kind !== "CRL" && kind !== "other").map((entry) => entry.data);
  return { report: data.subarray(0, SNP_LIMITS.reportBytes), certificates };
}
