/** Confidential computing must be on and developer tools off; a device's signature alone says neither. */
import type { Rules } from "../verdict.ts";
import type { GuestCcState } from "./evidence.ts";
import type { CcMode } from "./opaque.ts";
import type { NvidiaProfile } from "./profile.ts";

export function checkCcState(rules: Rules, state: GuestCcState | undefined, profile: NvidiaProfile): void {
  if (!state) {
    const message = "the guest did not state whether confidential computing is on: add cc_state to the evidence";
    if (profile.cc_state === "if-present") rules.skip("nvidia.cc-state", message);
    else rules.fail("nvidia.cc-state", message, { need: "cc_state" });
    return;
  }
  rules.check("nvidia.cc-state", state.cc_feature === "ON" && state.environment !== "SIM", {
    passed: "the guest states that confidential computing of the GPUs is on",
    failed: "confidential computing of the GPUs is off: memory and transfers are open to the host",
    have: [state.cc_feature, state.environment].filter(Boolean).join(" "),
    need: "ON",
  });
  rules.check("nvidia.devtools", state.devtools_mode === "OFF" || profile.allow_devtools, {
    passed: state.devtools_mode === "OFF" ? "developer tools are off" : "the profile allows developer tools",
    failed: "developer tools are on: the memory of the GPU can be read",
    have: state.devtools_mode,
    need: "OFF",
  });
}

/** What newer drivers sign into the report. Where they do not, the guest's word is all there is. */
export function checkCcMode(
  rules: Rules,
  stated: CcMode | "unknown" | undefined,
  protectedPcie: "on" | "off" | "unknown" | undefined,
  profile: NvidiaProfile,
): void {
  const mode = stated ?? impliedMode(protectedPcie);
  if (mode === undefined) {
    rules.skip("nvidia.cc-mode", "this driver does not state the mode of the device");
    return;
  }
  const consistent = mode !== "PPCIE" || protectedPcie === "on";
  rules.check("nvidia.cc-mode", mode !== "unknown" && profile.cc_modes.includes(mode) && consistent, {
    passed: "the device is in a mode that is accepted",
    failed: consistent ? "the device is in another mode" : "protected PCIe is stated as mode, but its status is not on",
    have: mode,
    need: profile.cc_modes.join(" or "),
  });
}

/** Drivers before the one that states the mode state protected PCIe, which is one of the modes. */
function impliedMode(protectedPcie: "on" | "off" | "unknown" | undefined): "PPCIE" | "unknown" | undefined {
  if (protectedPcie === "on") return "PPCIE";
  return protectedPcie === "unknown" ? "unknown" : undefined;
}
