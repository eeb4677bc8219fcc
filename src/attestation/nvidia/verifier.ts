/** Stands behind the interface of every TEE: the evidence of all GPUs and switches of one machine in, branded claims out. */
import { createHash } from "node:crypto";
import { toHex } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import type { EvidenceVerifier } from "../attestation.ts";
import { brandClaims } from "../claims.ts";
import { evidenceRefused } from "../errors.ts";
import { Rules, type Verdict } from "../verdict.ts";
import { createNvidiaCache, type NvidiaCache } from "./cache.ts";
import type { GpuClaims } from "./claims.ts";
import { checkDeviceSet, oldestCollateral } from "./composite.ts";
import { NVIDIA_KIND, type NvidiaEvidence, parseGpuEvidence } from "./evidence.ts";
import { NVIDIA_LIMITS } from "./limits.ts";
import type { NvidiaProfile } from "./profile.ts";
import { parseOcspAnswers } from "./revocation.ts";
import { type GpuInput, verifyGpu } from "./verify.ts";

export interface NvidiaVerifierOptions {
  readonly profile: NvidiaProfile;
  /** Manifests, XML. */
  readonly rims?: readonly Uint8Array[];
  /** OCSP responses, DER or read before. */
  readonly ocsp?: GpuInput["ocsp"];
  /** Shared with other judges; absent: its own. */
  readonly cache?: NvidiaCache;
  /** Other pins than NVIDIA's, for tests with roots of their own. */
  readonly anchors?: NonNullable<GpuInput["anchors"]>;
}

/**
 * Devices sign the first 32 of the 64 bytes: report data is a digest or begins with one. Throws EVIDENCE_REFUSED
 * `nvidia.rim.count` or `nvidia.ocsp.format` at once for collateral that cannot be read.
 */
export function createNvidiaVerifier(options: NvidiaVerifierOptions): EvidenceVerifier {
  const judge = createNvidiaJudge(options);
  return {
    kind: NVIDIA_KIND,
    async verify(evidence, expectedReportData, now) {
      if (evidence.kind !== NVIDIA_KIND) throw evidenceRefused("evidence.kind");
      const nonce = expectedReportData.subarray(0, NVIDIA_LIMITS.nonceBytes);
      const parsed = parseGpuEvidence(evidence.data);
      const { verdict, rules, claims } = judge(parsed, nonce, now);
      const failed = rules.find(({ result }) => result === "failed");
      if (failed || verdict !== "accepted" || !claims) throw evidenceRefused(failed?.id ?? "nvidia.evidence.format");
      return brandClaims({
        kind: NVIDIA_KIND,
        measurement: measureDevices(claims),
        debug: parsed.ccState?.devtools_mode !== "OFF",
        reportData: expectedReportData.slice(),
      });
    },
  };
}

export type NvidiaJudge = (
  evidence: NvidiaEvidence,
  /** 32 bytes. */
  nonce: Uint8Array,
  now: number,
) => Verdict<readonly GpuClaims[]>;

export type DevicesJudge = (
  evidence: NvidiaEvidence,
  /** 32 bytes. */
  nonce: Uint8Array,
  now: number,
) => readonly Verdict<GpuClaims>[];

/** Reads the collateral once. One verdict for each device; the set that they are is for `checkDeviceSet` to judge. */
export function createDevicesJudge(options: NvidiaVerifierOptions): DevicesJudge {
  const { profile, rims = [], ocsp = [], anchors, cache = createNvidiaCache() } = options;
  if (rims.length > NVIDIA_LIMITS.rims) throw evidenceRefused("nvidia.rim.count");
  const answers = parseOcspAnswers(ocsp);
  return ({ devices, ccState }, expectedNonce, now) =>
    devices.map((evidence) =>
      verifyGpu({
        ...{ evidence, rims, ocsp: answers, profile, now, expectedNonce, cache },
        ...(ccState ? { ccState } : {}),
        ...(anchors ? { anchors } : {}),
      }),
    );
}

/** The verdict is over all devices and over the set that they are. */
export function createNvidiaJudge(options: NvidiaVerifierOptions): NvidiaJudge {
  const judge = createDevicesJudge(options);
  return (evidence, expectedNonce, now) => {
    const verdicts = judge(evidence, expectedNonce, now);
    const claims = verdicts.flatMap((verdict) => verdict.claims ?? []);
    const set = new Rules();
    checkDeviceSet(set, claims, expectedNonce, options.profile);
    const accepted = verdicts.length > 0 && verdicts.every(({ verdict }) => verdict === "accepted");
    return {
      verdict: accepted && set.verdict === "accepted" ? "accepted" : "refused",
      rules: [...verdicts.flatMap(({ rules }) => rules), ...set.list],
      advisories: [],
      ...oldestCollateral(verdicts),
      claims,
    };
  };
}

/** SHA-384, hex, over what the devices are and run, in an order that does not depend on their slots. */
export function measureDevices(devices: readonly GpuClaims[]): string {
  const lines = devices
    .map(({ arch, driverVersion = "", vbiosVersion = "" }) => `${arch} ${driverVersion} ${vbiosVersion}`)
    .sort();
  return toHex(createHash("sha384").update(jcs(lines)).digest());
}
