/** Rules about the guest: its policy, who it is, and what it bound into its report. */
import { equalBytes, toHex } from "../../base/index.ts";
import type { Rules } from "../verdict.ts";
import { hasBit, POLICY_BITS, type PolicyFlag, policyAbi } from "./claims.ts";
import type { SnpReport } from "./evidence.ts";
import { SNP_LIMITS } from "./limits.ts";
import type { SnpProfile } from "./profile.ts";

/** Bits that a known policy may have; bit 17 is always one (AMD 56860, GUEST_POLICY). */
const KNOWN_POLICY = (1n << 26n) - 1n;

export function checkGuest(rules: Rules, report: SnpReport, profile: SnpProfile): void {
  checkPolicy(rules, report, profile);
  checkMigration(rules, report, profile);
  checkVmpl(rules, report, profile);
  checkIdentity(rules, report, profile);
}

function checkPolicy(rules: Rules, { policy }: SnpReport, profile: SnpProfile): void {
  const have = `0x${policy.toString(16)}`;
  const has = (flag: PolicyFlag) => hasBit(policy, POLICY_BITS[flag]);
  rules.check("snp.policy.reserved", hasBit(policy, 17n) && (policy & ~KNOWN_POLICY) === 0n, {
    passed: "The guest policy has the form that is known.",
    failed: "The guest policy has bits that are not known here.",
    have,
  });
  rules.check("snp.policy.debug", !has("debug_allowed") || profile.allow_debug, {
    passed: has("debug_allowed") ? "The host may debug the guest, and the profile allows it." : "No debugging.",
    failed: "The host may read the guest's memory: launch it without the debug bit, or set allow_debug.",
    have,
  });
  rules.check("snp.policy.smt", !has("smt_allowed") || profile.allow_smt, {
    passed: "The use of SMT is as the profile wants it.",
    failed: "The guest may share a core with other threads: launch it without the SMT bit, or set allow_smt.",
    have,
  });
  rules.check("snp.policy.single-socket", has("single_socket") || !profile.require_single_socket, {
    passed: "The use of sockets is as the profile wants it.",
    failed: "The guest may span sockets: launch it with the single-socket bit.",
    have,
  });
  const [abi, need] = [policyAbi(policy), profile.minimum_abi];
  rules.check("snp.policy.abi", abi.major > need.major || (abi.major === need.major && abi.minor >= need.minor), {
    passed: "The guest asks for a firmware interface that is new enough.",
    failed: "The guest accepts a firmware interface that is too old: raise the ABI version of its policy.",
    have: `${abi.major}.${abi.minor}`,
    need: `${need.major}.${need.minor}`,
  });
}

function checkMigration(rules: Rules, { policy, reportIdMa }: SnpReport, profile: SnpProfile): void {
  const agent = reportIdMa.every((byte) => byte === 0xff) ? undefined : toHex(reportIdMa);
  const migratable = hasBit(policy, POLICY_BITS.migration_allowed) || agent !== undefined;
  rules.check("snp.policy.migration", !migratable || profile.migration_agents.includes(agent ?? ""), {
    passed: migratable ? "The migration agent is one that the profile names." : "The guest cannot migrate.",
    failed: "The guest can migrate: launch it without a migration agent, or name the agent in migration_agents.",
    have: agent ?? "no agent",
  });
}

function checkVmpl(rules: Rules, { vmpl, guestSvn }: SnpReport, profile: SnpProfile): void {
  rules.check("snp.vmpl", profile.vmpl.includes(vmpl), {
    passed: "The report was asked for at a privilege level that the profile names.",
    failed: "The report was asked for at another privilege level, or by the host: name the level in vmpl.",
    have: vmpl === 0xffff_ffff ? "the host" : String(vmpl),
    need: profile.vmpl.join(", "),
  });
  rules.check("snp.guest-svn", guestSvn >= profile.minimum_guest_svn, {
    passed: "The guest's version number is high enough.",
    failed: "The guest is too old.",
    have: String(guestSvn),
    need: String(profile.minimum_guest_svn),
  });
}

function checkIdentity(rules: Rules, report: SnpReport, profile: SnpProfile): void {
  checkListed(rules, "snp.measurement", report.measurement, profile.measurements);
  checkListed(rules, "snp.host-data", report.hostData, profile.host_data);
  checkListed(rules, "snp.id-key", report.idKeyDigest, profile.id_key_digests);
  const author = report.authorKeyEnabled ? report.authorKeyDigest : new Uint8Array(0);
  checkListed(rules, "snp.author-key", author, profile.author_key_digests);
  checkListed(rules, "snp.family-id", report.familyId, profile.family_ids);
  checkListed(rules, "snp.image-id", report.imageId, profile.image_ids);
}

function checkListed(rules: Rules, id: string, bytes: Uint8Array, allowed: readonly string[] | undefined): void {
  const have = toHex(bytes);
  if (!allowed) {
    rules.skip(id, "The profile names none.", { have });
    return;
  }
  rules.check(id, allowed.includes(have), {
    passed: "It is one that the profile names.",
    failed: "It is none that the profile names.",
    have,
  });
}

/** All 64 bytes count: what the guest padded with zeros must be zero. */
export function checkReportData(rules: Rules, have: Uint8Array, expected: Uint8Array | undefined): void {
  if (!expected) {
    rules.skip("snp.report-data", "The caller expects nothing of the report data.");
    return;
  }
  const whole = expected.length === SNP_LIMITS.reportDataBytes;
  rules.check("snp.report-data", whole && equalBytes(have, expected), {
    passed: "The report is bound to this exchange.",
    failed: "The report is bound to something else: ask for a new challenge.",
  });
}
