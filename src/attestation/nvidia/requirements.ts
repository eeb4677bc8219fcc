/** What a profile asks of a device beyond cryptography: which one it is and which versions it runs. */
import type { Rules } from "../verdict.ts";
import type { NvidiaProfile } from "./profile.ts";
import { compareVersions, sameVbiosFamily } from "./versions.ts";

export interface DeviceFacts {
  readonly kind: "gpu" | "switch";
  readonly ueid: string;
  readonly driverVersion?: string | undefined;
  readonly vbiosVersion?: string | undefined;
}

export function checkRequirements(rules: Rules, facts: DeviceFacts, profile: NvidiaProfile): void {
  if (profile.ueid_allow) {
    rules.check("nvidia.device.ueid", profile.ueid_allow.includes(facts.ueid), {
      passed: "the device is on the list",
      failed: "the device is not on the list: add its ueid to ueid_allow",
      have: facts.ueid,
    });
  }
  if (facts.kind === "gpu") checkDriver(rules, facts.driverVersion, profile);
  checkVbios(rules, facts, profile);
}

function checkDriver(rules: Rules, have: string | undefined, profile: NvidiaProfile): void {
  const { driver_min: min, driver_allow: allow } = profile;
  const facts = { have: have ?? "none", passed: "the driver is accepted" };
  if (min) {
    rules.check("nvidia.driver.minimum", have !== undefined && isDotted(have) && compareVersions(have, min, 10) >= 0, {
      ...facts,
      failed: "the driver is too old: update it",
      need: `${min} or later`,
    });
  }
  if (allow) {
    rules.check("nvidia.driver.allowed", have !== undefined && allow.includes(have), {
      ...facts,
      failed: "the driver is not on the list driver_allow",
      need: allow.join(" or "),
    });
  }
}

function isDotted(version: string): boolean {
  return /^[0-9]{1,5}(\.[0-9]{1,5})*$/.test(version);
}

function checkVbios(rules: Rules, { kind, vbiosVersion: have }: DeviceFacts, profile: NvidiaProfile): void {
  const { vbios_allow: allow, vbios_min: min } = profile;
  const facts = { have: have ?? "none", passed: "the VBIOS is accepted" };
  if (allow) {
    rules.check("nvidia.vbios.allowed", have !== undefined && allow.includes(have), {
      ...facts,
      failed: "the VBIOS is not on the list vbios_allow",
      need: allow.join(" or "),
    });
  }
  if (!min || (kind === "switch" && have !== undefined && !sameVbiosFamily(have, min))) return;
  const holds = have !== undefined && sameVbiosFamily(have, min) && compareVersions(have, min, 16) >= 0;
  rules.check("nvidia.vbios.minimum", holds, {
    ...facts,
    failed: "the VBIOS is too old or of another family: update it",
    need: `${min} or later`,
  });
}
