/** The devices of a machine beside its processor: judged as one, or missed where the profile asks for them. */
import type { CollateralReader } from "./appraisal-verifiers.ts";
import type { AttestedClaims, AttestedDevices } from "./attestation.ts";
import { withDevices } from "./claims.ts";
import type { CollateralSet } from "./collateral/set.ts";
import { evidenceRefused } from "./errors.ts";
import { createNvidiaCache } from "./nvidia/cache.ts";
import type { GpuClaims } from "./nvidia/claims.ts";
import { verifyComposite } from "./nvidia/composite.ts";
import { type NvidiaEvidence, parseGpuEvidence } from "./nvidia/evidence.ts";
import type { NvidiaProfile } from "./nvidia/profile.ts";
import {
  createDevicesJudge,
  type DevicesJudge,
  measureDevices,
  type NvidiaVerifierOptions,
} from "./nvidia/verifier.ts";

export interface DeviceGate {
  /** Whether a machine that shows no devices is refused. */
  readonly required: boolean;
  /** Throws EVIDENCE_REFUSED with the failed rule. `nonce` is 32 bytes, `now` in milliseconds. */
  judge(cpu: AttestedClaims, devices: Uint8Array, nonce: Uint8Array, now: number): Promise<AttestedClaims>;
}

export interface DeviceGateOptions {
  readonly profile: NvidiaProfile;
  readonly collateral: CollateralReader;
  /** Other pins than NVIDIA's, for tests with roots of their own. */
  readonly anchors?: NonNullable<NvidiaVerifierOptions["anchors"]>;
}

export function createDeviceGate(options: DeviceGateOptions): DeviceGate {
  const { profile, collateral } = options;
  const judgeOf = judgesOf(options);
  return {
    required: !profile.allow_absent_devices,
    async judge(cpu, data, nonce, now) {
      const evidence = parseGpuEvidence(data);
      const devices = judgeOf(await collateral())(evidence, nonce, now);
      // A processor's claims exist only where its verifier accepted it.
      const accepted = { verdict: "accepted", rules: [], advisories: cpu.advisories ?? [], claims: cpu } as const;
      const { verdict, rules, claims } = verifyComposite({ cpu: accepted, devices, nonce, profile });
      const failed = rules.filter(({ result }) => result === "failed");
      const told = failed.find(({ id }) => id !== DEVICES_RULE) ?? failed[0];
      if (told || verdict !== "accepted" || !claims) throw evidenceRefused(told?.id ?? DEVICES_RULE);
      return withDevices(cpu, attestedDevices(claims.devices, evidence));
    },
  };
}

/** Says only that a device is refused: the rule that refused it says more. */
const DEVICES_RULE = "nvidia.composite.devices";

/** The same judge as long as the collateral is the same: what signatures have shown stays in its cache. */
function judgesOf({ profile, anchors }: DeviceGateOptions): (set: CollateralSet) => DevicesJudge {
  const cache = createNvidiaCache();
  let last: { readonly set: CollateralSet; readonly judge: DevicesJudge } | undefined;
  return (set) => {
    if (last?.set === set) return last.judge;
    const { rims, ocsp } = set;
    const judge = createDevicesJudge({ profile, rims, ocsp, cache, ...(anchors ? { anchors } : {}) });
    last = { set, judge };
    return judge;
  };
}

function attestedDevices(claims: readonly GpuClaims[], { ccState }: NvidiaEvidence): AttestedDevices {
  return {
    gpus: claims.filter(({ kind }) => kind === "gpu").length,
    switches: claims.filter(({ kind }) => kind === "switch").length,
    measurement: measureDevices(claims),
    debug: ccState?.devtools_mode !== "OFF",
    ueids: claims.map(({ ueid }) => ueid),
  };
}
