/** Finds the manifests of the versions that a device runs, verifies them and compares its measurements with them. */
import { Rules, type Verdict } from "../verdict.ts";
import type { NvidiaCache } from "./cache.ts";
import type { GpuEvidence, NvidiaArch } from "./evidence.ts";
import { checkMeasurements } from "./measurements.ts";
import type { NvidiaProfile } from "./profile.ts";
import { checkRevocation, type OcspAnswers } from "./revocation.ts";
import { checkRimChain, type Rim, tryReadRim } from "./rim.ts";

export interface RimFacts {
  readonly compared: number;
  readonly collateral?: NonNullable<Verdict<unknown>["collateral"]>;
}

export interface RimInput {
  readonly evidence: GpuEvidence;
  readonly rims: readonly Uint8Array[];
  readonly answers: OcspAnswers;
  readonly profile: NvidiaProfile;
  readonly now: number;
  readonly cache?: NvidiaCache;
  readonly anchors: readonly string[];
}

const PRODUCTS: Readonly<Record<NvidiaArch, RegExp>> = {
  HOPPER: /^GH100$/,
  BLACKWELL: /^GB[0-9]{3}$/,
  LS10: /^LS10$/,
};

export function checkRims(rules: Rules, input: RimInput): RimFacts {
  const { driverVersion, vbiosVersion } = input.evidence.report.opaque;
  if (input.rims.length === 0 && !input.profile.require_rims) {
    rules.skip("nvidia.rim.measurements", "there are no manifests to compare with");
    return { compared: 0 };
  }
  const all = input.rims.flatMap((xml) => tryReadRim(xml, input.cache) ?? []);
  rules.check("nvidia.rim.signature", all.length === input.rims.length, {
    passed: "every manifest is signed",
    failed: "a manifest is damaged, or its signature is not right",
    have: `${all.length} of ${input.rims.length}`,
  });
  const isSwitch = input.evidence.arch === "LS10";
  const driver = isSwitch ? undefined : pick(rules, "nvidia.rim.driver", all, input, driverVersion);
  const vbios = pick(rules, "nvidia.rim.vbios", all, input, vbiosVersion);
  const used = [driver, vbios].filter((rim) => rim !== undefined);
  for (const rim of used) checkSigner(rules, rim, input);
  if (used.length === 0) return { compared: 0 };
  const { compared } = checkMeasurements(rules, input.evidence.report, used);
  return { compared, collateral: datesOf(used) };
}

/** Manifests are issued again under the same id: of those that hold now, the one that was signed last counts. */
function pick(rules: Rules, rule: string, all: readonly Rim[], input: RimInput, version?: string) {
  const { evidence, profile } = input;
  const fitting = all
    .filter((rim) => rim.version === version && PRODUCTS[evidence.arch].test(rim.product))
    .sort((a, b) => signedAfter(b) - signedAfter(a));
  const holds = (rim: Rim) => checkRimChain(new Rules(), rim, input) !== undefined;
  const rim = fitting.length > 1 ? (fitting.find(holds) ?? fitting[0]) : fitting[0];
  if (!rim && !profile.require_rims) {
    rules.skip(rule, "there is no manifest of this version", { need: version ?? "a version" });
    return undefined;
  }
  rules.check(rule, rim !== undefined, {
    passed: "there is a manifest of this version",
    failed: "there is no manifest of this version: fetch it from NVIDIA's manifest service",
    have: all.map((other) => `${other.product} ${other.version}`).join(", ") || "none",
    need: version ?? "a version in the report",
  });
  return rim;
}

function signedAfter(rim: Rim): number {
  return rim.certificates[0]?.notBefore ?? 0;
}

function checkSigner(rules: Rules, rim: Rim, input: RimInput): void {
  const path = checkRimChain(rules, rim, input);
  const { answers, profile, now } = input;
  checkRevocation(rules, { rule: "nvidia.rim.revocation", path, firstRequired: 0, answers, profile, now });
}

function datesOf(rims: readonly Rim[]): NonNullable<RimFacts["collateral"]> {
  const leaves = rims.flatMap(({ certificates: [leaf] }) => leaf ?? []);
  return {
    issuedAt: Math.min(...leaves.map(({ notBefore }) => notBefore)),
    nextUpdateAt: Math.min(...leaves.map(({ notAfter }) => notAfter)),
  };
}
