/** The verifiers that a server has, by kind of evidence. */

import { createDeviceGate, type DeviceGate } from "./appraisal-devices-gate.ts";
import type { AppraisalProfile } from "./appraisal-profile.ts";
import { type Anchors, appraisingVerifiers, type CollateralReader, NO_COLLATERAL } from "./appraisal-verifiers.ts";
import type { AttestedClaims, Evidence, EvidenceVerifier } from "./attestation.ts";
import { evidenceRefused } from "./errors.ts";
import { createInsecureDevVerifier } from "./insecure-dev/verifier.ts";
import { ATTESTATION_LIMITS } from "./limits.ts";

/** What evidence must be bound to. */
export interface EvidenceBinding {
  /** 64 bytes that the processor signs. */
  readonly reportData: Uint8Array;
  /** 32 bytes that each device signs; absent: no devices are taken. */
  readonly deviceNonce?: Uint8Array;
}

export interface VerifierRegistry {
  /** Kinds of evidence that can be judged, sorted. */
  readonly kinds: readonly string[];
  /** Throws EVIDENCE_REFUSED with the failed rule; `now` in milliseconds. */
  verify(evidence: Evidence, binding: EvidenceBinding, now: number): Promise<AttestedClaims>;
}

export interface VerifierOptions {
  /** Set only where somebody asked for it in so many words. */
  readonly allowInsecureDev?: boolean;
  /** Which TEEs are accepted, and in which state; absent: none. */
  readonly profile?: AppraisalProfile;
  /** What vendors sign, asked for with every verification; absent: what machines bring along is all there is. */
  readonly collateral?: CollateralReader;
  /** Other pins than the vendors', for tests with roots of their own. */
  readonly anchors?: Anchors;
}

export function createVerifiers(options: VerifierOptions = {}): VerifierRegistry {
  const { profile, collateral = NO_COLLATERAL, anchors } = options;
  const verifiers = [
    ...(options.allowInsecureDev === true ? [createInsecureDevVerifier({ allowInsecureDev: true })] : []),
    ...(profile ? appraisingVerifiers(profile, collateral, anchors) : []),
  ];
  if (!profile?.nvidia) return createRegistry(verifiers);
  const nvidia = anchors?.nvidia ? { anchors: anchors.nvidia } : {};
  return createRegistry(verifiers, createDeviceGate({ profile: profile.nvidia, collateral, ...nvidia }));
}

/** Without a gate evidence of devices is refused: nobody could say what it is worth. */
export function createRegistry(verifiers: readonly EvidenceVerifier[], gate?: DeviceGate): VerifierRegistry {
  const byKind = new Map(verifiers.map((verifier) => [verifier.kind, verifier]));
  if (byKind.size !== verifiers.length) throw new Error("two verifiers of one kind of evidence");
  return {
    kinds: [...byKind.keys()].sort(),
    async verify(evidence, { reportData, deviceNonce }, now) {
      checkSizes(evidence, { reportData, ...(deviceNonce ? { deviceNonce } : {}) });
      const verifier = byKind.get(evidence.kind);
      if (!verifier) throw evidenceRefused("evidence.kind");
      const { devices } = evidence;
      if (!devices && gate?.required) throw evidenceRefused("nvidia.devices.missing");
      if (devices && !(gate && deviceNonce)) throw evidenceRefused("nvidia.devices.unasked");
      const cpu = await verifier.verify(evidence, reportData, now);
      return devices && gate && deviceNonce ? gate.judge(cpu, devices, deviceNonce, now) : cpu;
    },
  };
}

function checkSizes({ data, devices }: Evidence, { reportData, deviceNonce }: EvidenceBinding): void {
  const { reportDataBytes, evidenceBytes, deviceEvidenceBytes, deviceNonceBytes } = ATTESTATION_LIMITS;
  if (reportData.length !== reportDataBytes) throw evidenceRefused("evidence.report-data");
  if (deviceNonce && deviceNonce.length !== deviceNonceBytes) throw evidenceRefused("evidence.report-data");
  if (data.length > evidenceBytes) throw evidenceRefused("evidence.size");
  if (devices && devices.length > deviceEvidenceBytes) throw evidenceRefused("evidence.size");
}
