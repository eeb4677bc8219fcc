/** Judges an SEV-SNP report: a pure function of the report, its certificates, the revocation lists, the profile and the time. */
import type { Certificate, Crl } from "../../codec/index.ts";
import { parseCertificate, verifyRawEcdsa } from "../../codec/index.ts";
import { evidenceRefused, refusedRule } from "../errors.ts";
import { Rules, type Verdict } from "../verdict.ts";
import { checkRevocation, checkVekChain, readCrls, signerName } from "./certificates.ts";
import { claimsOfReport, type SnpClaims } from "./claims.ts";
import { parseSnpReport, type SnpReport } from "./evidence.ts";
import { checkGuest, checkReportData } from "./guest-rules.ts";
import { SNP_LIMITS } from "./limits.ts";
import { checkPlatform } from "./platform-rules.ts";
import { AMD_ROOTS, type SnpAnchors, type SnpProduct, tcbText } from "./products.ts";
import type { SnpProfile } from "./profile.ts";
import { productOfIssuer, readVek, sameChip, sameTcb, type Vek, vekKindOf } from "./vek.ts";

export interface SnpRequest {
  /** 1184 bytes. */
  readonly report: Uint8Array;
  /** DER in any order: the VCEK or VLEK, and above it ASK or ASVK and ARK. Others are passed over. */
  readonly certificates: readonly (Uint8Array | Certificate)[];
  /** DER; lists of other roots are passed over. */
  readonly crls: readonly (Uint8Array | Crl)[];
  readonly profile: SnpProfile;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** 64 bytes; absent: the rule stays unchecked. */
  readonly expectedReportData?: Uint8Array;
  /** Other roots than AMD's, for tests with roots of their own. */
  readonly anchors?: SnpAnchors;
}

/** Never throws for what the evidence holds: that is a failed rule. */
export function verifySnp(request: SnpRequest): Verdict<SnpClaims> {
  const rules = new Rules();
  const report = attempt(rules, () => parseSnpReport(request.report));
  if (!report) return conclude(rules);
  rules.pass("snp.report.format", "The report has a known form.", { have: `version ${report.version}` });
  const { vek, product, crls } = checkEndorsement(rules, report, request);
  checkReserved(rules, report);
  checkPlatform(rules, report, product, request.profile);
  checkGuest(rules, report, request.profile);
  checkReportData(rules, report.reportData, request.expectedReportData);
  return conclude(rules, claimsOfReport(report, { product, cspId: vek?.cspId }), crls);
}

interface Endorsement {
  readonly product: SnpProduct | undefined;
  readonly vek?: Vek | undefined;
  readonly crls?: readonly Crl[];
}

/** Who signed the report, and why that counts. */
function checkEndorsement(rules: Rules, report: SnpReport, request: SnpRequest): Endorsement {
  const read = attempt(rules, () => ({
    certificates: readCertificates(request.certificates),
    crls: readCrls(request.crls),
  }));
  const leaf = read && findVek(rules, report, read.certificates);
  const product = report.cpuid ? report.product : leaf && productOfIssuer(leaf);
  if (!read || !leaf) return { product };
  const known = rules.check("snp.product.known", product !== undefined && possible(report, product), {
    passed: "The processor is known.",
    failed: "The processor is not known here.",
    have: product ?? cpuidText(report),
  });
  if (!known || !product) return { product };
  const { anchors = AMD_ROOTS, now, profile } = request;
  const path = checkVekChain(rules, { leaf, certificates: read.certificates, anchors, product, now });
  const crls = path ? checkRevocation(rules, { path, crls: read.crls, requireCrl: profile.require_crl, now }) : [];
  checkSignature(rules, report, leaf);
  return { product, crls, vek: checkVek(rules, report, leaf, product, profile) };
}

/** Reports of version 2 are older than Turin. */
const possible = (report: SnpReport, product: SnpProduct): boolean =>
  report.cpuid !== undefined || product === "Milan" || product === "Genoa";

const cpuidText = ({ cpuid }: SnpReport): string =>
  cpuid ? `family 0x${cpuid.family.toString(16)}, model 0x${cpuid.model.toString(16)}` : "no CPUID";

function readCertificates(certificates: SnpRequest["certificates"]): Certificate[] {
  if (certificates.length > SNP_LIMITS.certificates) throw evidenceRefused("snp.certificates.format");
  return certificates.map((certificate) => {
    if (!(certificate instanceof Uint8Array)) return certificate;
    if (certificate.length > SNP_LIMITS.certificateBytes) throw evidenceRefused("snp.certificates.format");
    try {
      return parseCertificate(certificate);
    } catch (error) {
      throw evidenceRefused("snp.certificates.format", error);
    }
  });
}

/** The certificate of the kind of key that the report names; the first one counts. */
function findVek(rules: Rules, { signingKey }: SnpReport, certificates: readonly Certificate[]) {
  const leaf = certificates.find((certificate) => vekKindOf(certificate) === signingKey);
  rules.check("snp.vek.present", leaf !== undefined, {
    passed: "The certificate of the signing key is there.",
    failed:
      "There is no certificate of the key that the report names: collect it with the report, or from AMD's service.",
    have: certificates.flatMap((certificate) => vekKindOf(certificate) ?? []).join(", "),
    need: signingKey,
  });
  return leaf;
}

function checkSignature(rules: Rules, report: SnpReport, { publicKey }: Certificate): void {
  const isP384 = publicKey.asymmetricKeyDetails?.namedCurve === "secp384r1";
  const isSigned = isP384 && verifyRawEcdsa("sha384", report.signedBytes, publicKey, report.signature);
  rules.check("snp.report.signature", isSigned, {
    passed: "The key signed this report.",
    failed: "The report was changed, or another key signed it.",
  });
}

function checkVek(
  rules: Rules,
  report: SnpReport,
  leaf: Certificate,
  product: SnpProduct,
  profile: SnpProfile,
): Vek | undefined {
  const vek = attempt(rules, () => readVek(leaf));
  if (!vek) return undefined;
  const signer = leaf.issuer.commonName;
  rules.check("snp.vek.product", vek.product === product && signer === signerName(vek.kind, product), {
    passed: "The certificate is of this product.",
    failed: "The certificate is of another product.",
    have: `${vek.product}, signed by ${signer ?? "nobody"}`,
    need: product,
  });
  rules.check("snp.vek.tcb", sameTcb(vek.tcb, report.tcb.reported), {
    passed: "The certificate is of the firmware that the report names.",
    failed: "The certificate is of other firmware than the report: fetch the one for the reported versions.",
    have: tcbText(vek.tcb),
    need: tcbText(report.tcb.reported),
  });
  checkHolder(rules, report, vek, profile);
  return vek;
}

function checkHolder(rules: Rules, report: SnpReport, vek: Vek, profile: SnpProfile): void {
  if (vek.hardwareId) {
    rules.check("snp.vek.chip", sameChip(vek.hardwareId, report.chipId), {
      passed: "The certificate is of the chip that the report names.",
      failed: "The certificate is of another chip than the report.",
    });
    return;
  }
  rules.check("snp.vek.provider", vek.cspId !== undefined && profile.vlek_csp_ids.includes(vek.cspId), {
    passed: "The provider's key is one that the profile names.",
    failed: "A provider's key signed: name the provider in vlek_csp_ids to accept it.",
    have: vek.cspId ?? "none",
    need: profile.vlek_csp_ids.join(", ") || "a key of the chip",
  });
}

function checkReserved(rules: Rules, report: SnpReport): void {
  rules.check("snp.report.reserved", !report.reservedSet, {
    passed: "What this version of the report reserves is zero.",
    failed: "The report holds something where its version has nothing.",
  });
}

/** What a parser refuses is a failed rule. */
function attempt<T>(rules: Rules, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const rule = refusedRule(error);
    if (rule === undefined) throw error;
    rules.fail(rule, "It cannot be read.");
    return undefined;
  }
}

function conclude(rules: Rules, claims?: SnpClaims, crls: readonly Crl[] = []): Verdict<SnpClaims> {
  const [first] = [...crls].sort((a, b) => a.thisUpdate - b.thisUpdate);
  const nextUpdateAt = Math.min(...crls.map(({ nextUpdate }) => nextUpdate));
  return {
    verdict: rules.verdict,
    rules: rules.list,
    advisories: [],
    ...(claims ? { claims } : {}),
    ...(first ? { collateral: { issuedAt: first.thisUpdate, nextUpdateAt } } : {}),
  };
}
