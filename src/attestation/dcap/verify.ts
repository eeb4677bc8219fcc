/** Judges a quote with its collateral: a pure function of its arguments, in the order of Intel's own verifier. */
import { equalBytes } from "../../base/index.ts";
import type { MeasuredEvent } from "../eventlog/event.ts";
import { type SgxClaims, sgxClaims } from "../sgx/claims.ts";
import type { SgxProfile } from "../sgx/profile.ts";
import { checkEnclaveReport } from "../sgx/report.ts";
import { type TdxClaims, tdxClaims } from "../tdx/claims.ts";
import type { TdxProfile } from "../tdx/profile.ts";
import { checkEvents, checkTdReport } from "../tdx/report.ts";
import { Rules, type Verdict } from "../verdict.ts";
import type { DcapCache } from "./cache.ts";
import { attempt, authorityOfName, checkPckChain, INTEL_SGX_ROOT_SHA256, type PckChain } from "./certificates.ts";
import type { PlatformClaims } from "./claims.ts";
import type { Collateral } from "./collateral.ts";
import { parseQuote, type Quote } from "./evidence.ts";
import { checkFreshness, checkRevocation, periodOf } from "./freshness.ts";
import { checkHeader, checkModule, checkPlatform, checkTcb } from "./platform.ts";
import { checkQuotingEnclave } from "./qe.ts";
import { checkQuoteSignatures } from "./signatures.ts";
import { appraiseTcb, type TcbAppraisal } from "./tcb.ts";
import { checkCollateral } from "./trust.ts";

export type DcapClaims = TdxClaims | SgxClaims;

export interface VerifyQuoteInput<Profile extends TdxProfile | SgxProfile = TdxProfile | SgxProfile> {
  readonly quote: Uint8Array;
  readonly collateral: Collateral;
  readonly profile: Profile;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** 64 bytes, compared in constant time; without them nothing ties the quote to whoever sent it. */
  readonly expectedReportData?: Uint8Array;
  /** Of a log that the domain brought along; it has to lead to the registers of the quote. */
  readonly events?: readonly MeasuredEvent[];
  readonly cache?: DcapCache;
  /** SHA-256 of root certificates in hex. Default: Intel's root alone; anything else is for tests with a root of their own. */
  readonly anchors?: readonly string[];
}

export type ClaimsOf<Profile> = Profile extends TdxProfile ? TdxClaims : SgxClaims;

/** Never throws for what the evidence says: a quote that cannot be read is a verdict with one failed rule. */
export function verifyQuote<Profile extends TdxProfile | SgxProfile>(
  input: VerifyQuoteInput<Profile>,
): Verdict<ClaimsOf<Profile>> {
  const rules = new Rules();
  const quote = attempt(rules, "dcap.quote.format", () => parseQuote(input.quote));
  if (!quote) return { verdict: "refused", rules: rules.list, advisories: [] };
  return judge(rules, quote, input) as Verdict<ClaimsOf<Profile>>;
}

function judge(rules: Rules, quote: Quote, input: VerifyQuoteInput): Verdict<DcapClaims> {
  const { collateral, profile, now, cache } = input;
  const { tee } = quote.header;
  const info = collateral.tcbInfo.content;
  const trust = { anchors: input.anchors ?? [INTEL_SGX_ROOT_SHA256], now };

  checkHeader(rules, quote, profile.tee, profile);
  const machine = checkPckChain(rules, quote.certification, trust, cache);
  const trusted = checkCollateral(rules, collateral, machine, trust, cache);
  checkFreshness(rules, collateral, trusted, profile, now);
  checkRevocation(rules, machine, trusted, profile);
  checkPlatform(rules, info, machine?.extension, tee, profile);
  if (quote.report.tee === "tdx") checkModule(rules, quote.report, info);
  checkQuoteSignatures(rules, quote, machine?.pck.publicKey);
  const qe = checkQuotingEnclave(rules, quote.qeReport, collateral.qeIdentity.content, tee);
  const tcb = appraise(quote, collateral, machine, qe);
  if (tcb) checkTcb(rules, tcb, profile, now);
  else rules.fail("dcap.tcb.status", "The machine's state cannot be told without its certificate.");
  checkReport(rules, quote, profile, input.events);
  checkReportData(rules, quote.report.reportData, input.expectedReportData);

  return {
    verdict: rules.verdict,
    rules: rules.list,
    ...(tcb ? { tcbStatus: tcb.status } : {}),
    advisories: tcb?.advisories ?? [],
    claims: claimsOf(quote, platformClaims(quote, machine, collateral, tcb)),
    collateral: periodOf(collateral, trusted),
  };
}

function appraise(
  quote: Quote,
  collateral: Collateral,
  machine: PckChain | undefined,
  qe: Parameters<typeof appraiseTcb>[0]["qe"],
): TcbAppraisal | undefined {
  if (!machine) return undefined;
  const report = quote.report.tee === "tdx" ? quote.report : undefined;
  return appraiseTcb({ info: collateral.tcbInfo.content, platform: machine.extension.tcb, report, qe });
}

/** Only the rules of the profile's own TEE; that the quote is of it was a rule of its own. */
function checkReport(
  rules: Rules,
  { report }: Quote,
  profile: TdxProfile | SgxProfile,
  events: readonly MeasuredEvent[] | undefined,
): void {
  if (report.tee === "tdx" && profile.tee === "tdx") {
    checkTdReport(rules, report, profile);
    checkEvents(rules, report, profile, events);
  }
  if (report.tee === "sgx" && profile.tee === "sgx") checkEnclaveReport(rules, report, profile);
}

function checkReportData(rules: Rules, have: Uint8Array, need: Uint8Array | undefined): void {
  if (!need) {
    rules.skip("dcap.report-data", "No report data was expected: the quote may be anybody's.");
    return;
  }
  rules.check("dcap.report-data", equalBytes(have, need), {
    passed: "The quote is bound to what was expected, in all 64 bytes.",
    failed: "The quote is bound to something else: it may be replayed or of another session.",
  });
}

function claimsOf({ report }: Quote, platform: PlatformClaims): DcapClaims {
  return report.tee === "tdx" ? tdxClaims(report, platform) : sgxClaims(report, platform);
}

function platformClaims(
  quote: Quote,
  machine: PckChain | undefined,
  collateral: Collateral,
  tcb: TcbAppraisal | undefined,
): PlatformClaims {
  const extension = machine?.extension;
  const authority = authorityOfName(machine?.authority.subject.commonName);
  return {
    quoteVersion: quote.header.version,
    ...(extension
      ? {
          fmspc: extension.fmspc,
          ppid: extension.ppid,
          pceId: extension.pceId,
          pceSvn: extension.tcb.pceSvn,
          sgxType: extension.sgxType,
        }
      : {}),
    ...(extension?.platformInstanceId === undefined ? {} : { platformInstanceId: extension.platformInstanceId }),
    ...(extension?.smtEnabled === undefined ? {} : { smtEnabled: extension.smtEnabled }),
    ...(authority ? { authority } : {}),
    tcbEvaluationDataNumber: collateral.tcbInfo.content.tcbEvaluationDataNumber,
    ...(tcb?.tcbDate === undefined ? {} : { tcbDate: tcb.tcbDate }),
    trailingBytes: quote.trailingBytes,
  };
}
