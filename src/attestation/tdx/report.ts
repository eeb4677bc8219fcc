/** The rules about a trust domain's own report: attributes, registers, service domains. */
import { fromHex, toHex } from "../../base/index.ts";
import { checkListed } from "../dcap/lists.ts";
import type { TdReport } from "../dcap/reports.ts";
import type { MeasuredEvent } from "../eventlog/event.ts";
import { checkEventLog, checkNamedEvents } from "../eventlog/replay.ts";
import type { Rules } from "../verdict.ts";
import { TD_ATTRIBUTE } from "./claims.ts";
import type { TdxProfile } from "./profile.ts";

/** Attributes that have rules of their own, or that take no protection away. */
const KNOWN_ATTRIBUTES = Object.values(TD_ATTRIBUTE).reduce((all, bit) => all | bit, 0n);

export function checkTdReport(rules: Rules, report: TdReport, profile: TdxProfile): void {
  checkAttributes(rules, report.tdAttributes, profile);
  checkXfam(rules, report.xfam, profile);
  checkServiceDomain(rules, report.mrServiceTd, profile);
  const registers = [
    ["mr-seam", "MRSEAM", report.mrSeam, profile.mr_seam],
    ["mr-td", "MRTD", report.mrTd, profile.mr_td],
    ["rtmr0", "RTMR0", report.rtmrs[0], profile.rtmr0],
    ["rtmr1", "RTMR1", report.rtmrs[1], profile.rtmr1],
    ["rtmr2", "RTMR2", report.rtmrs[2], profile.rtmr2],
    ["rtmr3", "RTMR3", report.rtmrs[3], profile.rtmr3],
    ["mr-config-id", "MRCONFIGID", report.mrConfigId, profile.mr_config_id],
    ["mr-owner", "MROWNER", report.mrOwner, profile.mr_owner],
    ["mr-owner-config", "MROWNERCONFIG", report.mrOwnerConfig, profile.mr_owner_config],
  ] as const;
  for (const [id, what, value, list] of registers) checkListed(rules, `tdx.${id}`, what, toHex(value), list);
}

/** A log is evaluated when there is one, and asked for when the profile names events. */
export function checkEvents(
  rules: Rules,
  report: TdReport,
  profile: TdxProfile,
  events: readonly MeasuredEvent[] | undefined,
): void {
  const accepted = profile.event_payloads;
  if (events) checkEventLog(rules, events, report.rtmrs);
  if (!accepted) return;
  if (events) checkNamedEvents(rules, events, accepted);
  else rules.fail("eventlog.missing", "The profile names events, and the evidence has no event log.");
}

function checkAttributes(rules: Rules, attributes: bigint, profile: TdxProfile): void {
  const clear = (id: string, bit: bigint, allowed: boolean, what: string, message: string) => {
    const set = (attributes & bit) !== 0n;
    rules.check(`tdx.${id}`, !set || allowed, {
      passed: set ? `${what} is set, and the profile allows it.` : `${what} is not set.`,
      failed: message,
      have: set ? "1" : "0",
      need: allowed ? "any" : "0",
    });
  };
  clear("debug", TD_ATTRIBUTE.debug, profile.allow_debug, "DEBUG", "The host can read this domain's memory.");
  clear(
    "migratable",
    TD_ATTRIBUTE.migratable,
    profile.allow_migratable,
    "MIGRATABLE",
    "The domain may be moved to a machine that nobody attested.",
  );
  clear(
    "perfmon",
    TD_ATTRIBUTE.performanceMonitoring,
    profile.allow_performance_counters,
    "PERFMON",
    "The domain's performance counters tell the host what it computes.",
  );
  checkSeptVe(rules, attributes, profile);
  const allowed = KNOWN_ATTRIBUTES | littleEndian(profile.additional_td_attributes);
  rules.check("tdx.attributes", (attributes & ~allowed) === 0n, {
    passed: "No attribute is set that the verifier does not know.",
    failed: "An attribute is set that the verifier does not know: name it in additional_td_attributes if it is right.",
    have: hexOf64(attributes),
    need: `within ${hexOf64(allowed)}`,
  });
}

function checkSeptVe(rules: Rules, attributes: bigint, profile: TdxProfile): void {
  const set = (attributes & TD_ATTRIBUTE.septVeDisable) !== 0n;
  rules.check("tdx.sept-ve-disable", set || !profile.require_sept_ve_disable, {
    passed: set ? "SEPT_VE_DISABLE is set." : "SEPT_VE_DISABLE is not set, and the profile does not ask for it.",
    failed: "The host may take pages away and have the domain handle it; only a paravisor's domains run like that.",
    have: set ? "1" : "0",
    need: profile.require_sept_ve_disable ? "1" : "any",
  });
}

function checkXfam(rules: Rules, xfam: bigint, profile: TdxProfile): void {
  const have = hexOf64(xfam);
  if (profile.allowed_xfam === undefined) {
    rules.skip("tdx.xfam", "The profile names no processor features.", { have });
    return;
  }
  const allowed = littleEndian(profile.allowed_xfam);
  rules.check("tdx.xfam", (xfam & ~allowed) === 0n, {
    passed: "The processor features are ones that the profile allows.",
    failed: "A processor feature is enabled that the profile does not allow.",
    have,
    need: `within ${hexOf64(allowed)}`,
  });
}

/** A domain of the first revision has no such register, and nothing can be bound to it. */
function checkServiceDomain(rules: Rules, mrServiceTd: Uint8Array | undefined, profile: TdxProfile): void {
  if (mrServiceTd?.every((byte) => byte === 0) !== false) {
    rules.pass("tdx.mr-service-td", "No service domain is bound.");
    return;
  }
  const have = toHex(mrServiceTd);
  rules.check("tdx.mr-service-td", profile.mr_service_td.includes(have), {
    passed: "The service domain that is bound is one that the profile accepts.",
    failed: "A service domain is bound that the profile does not name; it could move this domain elsewhere.",
    have,
    need: profile.mr_service_td.length > 0 ? `one of ${profile.mr_service_td.length} accepted values` : "zero",
  });
}

function littleEndian(hex: string | undefined): bigint {
  const bytes = hex === undefined ? undefined : fromHex(hex);
  return bytes ? new DataView(bytes.buffer).getBigUint64(0, true) : 0n;
}

const hexOf64 = (value: bigint) => `0x${value.toString(16).padStart(16, "0")}`;
