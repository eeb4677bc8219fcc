/** The rules about the machine: does the collateral speak of it, and is its state one that the profile accepts. */
import { toHex } from "../../base/index.ts";
import type { Rules } from "../verdict.ts";
import type { TcbInfo } from "./documents.ts";
import type { Quote, Tee } from "./evidence.ts";
import { iso } from "./freshness.ts";
import { checkListed } from "./lists.ts";
import type { PckExtension } from "./pck.ts";
import type { DcapProfile } from "./profile.ts";
import type { TdReport } from "./reports.ts";
import { findModuleIdentity, type TcbAppraisal } from "./tcb.ts";

const DAY = 24 * 60 * 60 * 1000;

export function checkPlatform(
  rules: Rules,
  info: TcbInfo,
  extension: PckExtension | undefined,
  tee: Tee,
  profile: DcapProfile,
): void {
  const id = tee.toUpperCase();
  rules.check("dcap.tcb-info.id", info.id === id, {
    passed: "The TCB info is for this kind of TEE.",
    failed: "The TCB info is for another kind of TEE: fetch the right one.",
    have: info.id,
    need: id,
  });
  const match = (rule: string, what: string, have: string, need: string | undefined) =>
    rules.check(rule, have === need, {
      passed: `The TCB info is for the machine's ${what}.`,
      failed: `The TCB info is for another ${what}: fetch the one of this machine.`,
      have,
      need: need ?? "unknown",
    });
  match("dcap.tcb-info.fmspc", "FMSPC", info.fmspc, extension?.fmspc);
  match("dcap.tcb-info.pce-id", "PCE id", info.pceId, extension?.pceId);
  checkListed(rules, "dcap.fmspc", "FMSPC", extension?.fmspc, profile.allowed_fmspcs);
  checkListed(rules, "dcap.ppid", "PPID", extension?.ppid, profile.allowed_ppids);
}

/** The TDX module: signed by whom Intel says, its attributes zero (Intel's verifier asks for both). */
export function checkModule(rules: Rules, report: TdReport, info: TcbInfo): void {
  const version = report.teeTcbSvn[1] ?? 0;
  const expected = info.id !== "TDX" ? undefined : version > 0 ? findModuleIdentity(info, version) : info.tdxModule;
  const have = `version ${version}, signer ${toHex(report.mrSignerSeam)}, attributes ${toHex(report.seamAttributes)}`;
  const holds =
    expected !== undefined &&
    toHex(report.mrSignerSeam) === expected.mrsigner &&
    toHex(report.seamAttributes) === expected.attributes &&
    report.seamAttributes.every((byte) => byte === 0);
  rules.check("tdx.module", holds, {
    passed: "The TDX module is Intel's.",
    failed: "The TDX module is none that the TCB info knows.",
    have,
    need: expected ? `signer ${expected.mrsigner}, attributes zero` : `an identity for version ${version}`,
  });
}

export function checkTcb(rules: Rules, tcb: TcbAppraisal, profile: DcapProfile, now: number): void {
  checkStatus(rules, tcb, profile, now);
  checkAge(rules, tcb.tcbDate, profile, now);
  const allowed = profile.allowed_advisories;
  const have = tcb.advisories.join(", ") || "none";
  if (!allowed) {
    rules.skip("dcap.tcb.advisories", "The profile names no advisories.", { have });
    return;
  }
  rules.check(
    "dcap.tcb.advisories",
    tcb.advisories.every((advisory) => allowed.includes(advisory)),
    {
      passed: "No advisory speaks of the platform that the profile does not allow.",
      failed: "An advisory speaks of the platform that the profile does not allow.",
      have,
      need: allowed.join(", ") || "none",
    },
  );
}

function checkStatus(rules: Rules, tcb: TcbAppraisal, profile: DcapProfile, now: number): void {
  const accepted: readonly string[] = profile.accepted_tcb_statuses;
  const graceful = inGrace(tcb, profile, now);
  rules.check("dcap.tcb.status", accepted.includes(tcb.status) || graceful, {
    passed: graceful
      ? "The platform is out of date, and its grace has not ended."
      : "The platform's state is accepted.",
    failed: "The platform's state is not accepted: update its firmware, or name the state in the profile.",
    have: [tcb.status, ...tcb.shortfall, ...tcb.advisories].join("; "),
    need: accepted.join(" or "),
  });
}

function inGrace({ status, behindSince }: TcbAppraisal, profile: DcapProfile, now: number): boolean {
  if (status !== "OutOfDate" || profile.out_of_date_grace_days === 0 || behindSince === undefined) return false;
  return now <= behindSince + profile.out_of_date_grace_days * DAY;
}

function checkAge(rules: Rules, tcbDate: number | undefined, profile: DcapProfile, now: number): void {
  const limit = profile.maximum_tcb_age_days;
  const have = tcbDate === undefined ? "no level" : iso(tcbDate);
  if (limit === undefined) {
    rules.skip("dcap.tcb.age", "The profile names no age of the platform.", { have });
    return;
  }
  rules.check("dcap.tcb.age", tcbDate !== undefined && now <= tcbDate + limit * DAY, {
    passed: "The platform's level is young enough.",
    failed: "The platform's level is older than the profile allows: update its firmware.",
    have,
    need: `at most ${limit} days old`,
  });
}

const INTEL_QE_VENDOR = "939a7233f79c4ca9940a0db3957f0607";

export function checkHeader(rules: Rules, quote: Quote, tee: Tee, profile: DcapProfile): void {
  rules.pass("dcap.quote.format", "The quote could be read.", { have: `version ${quote.header.version}` });
  rules.check("dcap.quote.tee", quote.header.tee === tee, {
    passed: "The quote is of the TEE that the profile is for.",
    failed: "The quote is of another TEE than the profile is for.",
    have: quote.header.tee,
    need: tee,
  });
  const vendor = toHex(quote.header.qeVendorId);
  rules.check("dcap.quote.qe-vendor", vendor === INTEL_QE_VENDOR, {
    passed: "The quoting enclave says that it is Intel's.",
    failed: "The quoting enclave is not Intel's.",
    have: vendor,
    need: INTEL_QE_VENDOR,
  });
  rules.check("dcap.quote.trailing-bytes", quote.trailingBytes === 0 || !profile.refuse_trailing_bytes, {
    passed: quote.trailingBytes === 0 ? "Nothing follows the quote." : "Bytes follow the quote; they were not read.",
    failed: "Bytes follow the quote that nothing signs.",
    have: `${quote.trailingBytes} bytes`,
    need: profile.refuse_trailing_bytes ? "0 bytes" : "any",
  });
}
