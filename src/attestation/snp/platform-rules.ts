/** Rules about the platform: product, firmware versions, chip, and what it has switched on. */
import { toHex } from "../../base/index.ts";
import type { Rules } from "../verdict.ts";
import { hasBit } from "./claims.ts";
import { type FirmwareVersion, isZero, type SnpReport } from "./evidence.ts";
import { type SnpProduct, type SnpTcb, TCB_PARTS, tcbAtMost, tcbText } from "./products.ts";
import { PLATFORM_BITS, type SnpProfile } from "./profile.ts";

export function checkPlatform(
  rules: Rules,
  report: SnpReport,
  product: SnpProduct | undefined,
  profile: SnpProfile,
): void {
  checkProduct(rules, product, profile);
  checkTcbOrder(rules, report);
  checkMinimumTcb(rules, report, product, profile);
  checkProvisional(rules, report, profile);
  checkChip(rules, report, profile);
  checkPlatformInfo(rules, report.platformInfo, profile);
  checkMitigations(rules, report, profile);
}

function checkProduct(rules: Rules, product: SnpProduct | undefined, profile: SnpProfile): void {
  rules.check("snp.product.allowed", product !== undefined && profile.products.includes(product), {
    passed: "The profile accepts this product.",
    failed: "The profile does not accept this product: name it in products.",
    have: product ?? "unknown",
    need: profile.products.join(", "),
  });
}

/** What the firmware says of itself must be in order, or the report makes no sense. */
function checkTcbOrder(rules: Rules, { tcb }: SnpReport): void {
  const ordered = tcbAtMost(tcb.reported, tcb.committed) && tcbAtMost(tcb.committed, tcb.current);
  rules.check("snp.tcb.order", ordered, {
    passed: "Reported firmware is at most the committed, and that at most the current.",
    failed: "The platform reports firmware that it has not committed to, or runs less than it committed to.",
    have: `reported ${tcbText(tcb.reported)}; committed ${tcbText(tcb.committed)}; current ${tcbText(tcb.current)}`,
  });
}

function checkMinimumTcb(rules: Rules, { tcb }: SnpReport, product: SnpProduct | undefined, profile: SnpProfile): void {
  const minimum = product && profile.minimum_tcb[product];
  if (!minimum) {
    rules.check("snp.tcb.minimum", profile.allow_any_tcb, {
      passed: "Any firmware is accepted, as the profile says.",
      failed: "The profile names no lowest firmware for this product: name it in minimum_tcb, or set allow_any_tcb.",
      have: tcbText(tcb.reported),
    });
    return;
  }
  for (const [when, have] of [
    ["reported", tcb.reported],
    ["launch", tcb.launch],
  ] as const) {
    for (const part of TCB_PARTS) checkPart(rules, when, part, have, minimum[part]);
  }
}

function checkPart(
  rules: Rules,
  when: "reported" | "launch",
  part: (typeof TCB_PARTS)[number],
  tcb: SnpTcb,
  need: number | undefined,
): void {
  if (need === undefined) return;
  const have = tcb[part];
  rules.check(`snp.tcb.${when}.${part}`, have !== undefined && have >= need, {
    passed: `The ${part} version is high enough.`,
    failed:
      when === "launch"
        ? `The guest was launched on older firmware (${part}): launch it again.`
        : `The ${part} is out of date: update the platform's firmware.`,
    have: have === undefined ? "none" : String(have),
    need: String(need),
  });
}

function checkProvisional(rules: Rules, { firmware }: SnpReport, profile: SnpProfile): void {
  const text = ({ major, minor, build }: FirmwareVersion) => `${major}.${minor}.${build}`;
  const [current, committed] = [text(firmware.current), text(firmware.committed)];
  rules.check("snp.firmware.committed", current === committed || profile.allow_provisional_firmware, {
    passed: "The running firmware is committed, or the profile accepts that it is not.",
    failed: "The running firmware can still be rolled back: commit it, or set allow_provisional_firmware.",
    have: current,
    need: committed,
  });
}

function checkChip(rules: Rules, { chipId }: SnpReport, profile: SnpProfile): void {
  const [have, masked] = [toHex(chipId), isZero(chipId)];
  rules.check("snp.chip.masked", !masked || profile.allow_masked_chip_id, {
    passed: masked ? "The chip is not named, and the profile accepts that." : "The chip is named.",
    failed: "The platform does not say which chip it is: set allow_masked_chip_id where the provider masks it.",
  });
  rules.check("snp.chip.refused", !profile.refused_chip_ids.includes(have), {
    passed: "The chip is not on the list of refused chips.",
    failed: "The chip is on the list of refused chips.",
    have,
  });
  if (!profile.chip_ids) {
    rules.skip("snp.chip.allowed", "The profile names no chips.", { have });
    return;
  }
  rules.check("snp.chip.allowed", profile.chip_ids.includes(have), {
    passed: "The chip is one that the profile names.",
    failed: "The chip is none that the profile names.",
    have,
  });
}

function checkPlatformInfo(rules: Rules, info: bigint, profile: SnpProfile): void {
  const have = `0x${info.toString(16)}`;
  for (const bit of profile.required_platform) {
    rules.check(`snp.platform.required.${bit}`, hasBit(info, PLATFORM_BITS[bit]), {
      passed: `The platform has ${bit}.`,
      failed: `The platform lacks ${bit}: update or configure it, or take it out of required_platform.`,
      have,
    });
  }
  for (const bit of profile.refused_platform) {
    rules.check(`snp.platform.refused.${bit}`, !hasBit(info, PLATFORM_BITS[bit]), {
      passed: `The platform does not have ${bit}.`,
      failed: `The platform has ${bit}.`,
      have,
    });
  }
}

function checkMitigations(rules: Rules, { mitigations }: SnpReport, profile: SnpProfile): void {
  const text = (value: bigint) => `0x${value.toString(16)}`;
  const have = mitigations && `launch ${text(mitigations.launch)}, current ${text(mitigations.current)}`;
  const facts = { have: have ?? "none in this version of the report" };
  if (profile.required_mitigations === undefined) {
    rules.skip("snp.mitigations", "The profile asks for none.", facts);
    return;
  }
  const need = BigInt(profile.required_mitigations);
  const both = mitigations && (mitigations.launch & mitigations.current & need) === need;
  rules.check("snp.mitigations", both === true, {
    passed: "Every mitigation that the profile asks for was there at launch and is there now.",
    failed: "A mitigation is missing: update the platform, then launch the guest again.",
    ...facts,
    need: text(need),
  });
}
