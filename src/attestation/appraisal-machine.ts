/** Judges a machine for others: its processor, its devices, or both as one, with a verdict for each part of the result. */
import { type AppraisalRequest, appraise } from "./appraisal.ts";
import { readEvidenceForm } from "./appraisal-evidence.ts";
import type { EarInput } from "./ear/token.ts";
import { evidenceRefused, refusedRule } from "./errors.ts";
import type { GpuClaims } from "./nvidia/claims.ts";
import { verifyComposite } from "./nvidia/composite.ts";
import { NVIDIA_KIND, parseGpuEvidence } from "./nvidia/evidence.ts";
import type { NvidiaProfile } from "./nvidia/profile.ts";
import { createDevicesJudge } from "./nvidia/verifier.ts";
import { Rules, type Verdict } from "./verdict.ts";

export interface MachineRequest extends AppraisalRequest {
  readonly profile: NonNullable<AppraisalRequest["profile"]>;
  /** Beside evidence of a processor: JSON as `parseGpuEvidence` reads it. */
  readonly devices?: Uint8Array;
  /** 32 bytes that each device signs. */
  readonly deviceNonce?: Uint8Array;
}

export interface MachineResult {
  readonly verdict: Verdict<unknown>;
  /** `cpu0` has the verdict over the whole machine: a processor in a refused machine is never said to be good. */
  readonly submodules: EarInput["submodules"];
}

/** Never throws for what evidence says. Devices without a section of the profile, or without a nonce, are refused. */
export async function appraiseMachine(request: MachineRequest): Promise<MachineResult> {
  const { kind, devices, profile } = request;
  const own = isEvidence(request.evidence) ? await appraise(request) : noEvidence();
  if (kind === NVIDIA_KIND) return { verdict: own, submodules: { gpu0: { tee: NVIDIA_KIND, verdict: own } } };
  const judged = devices ? judgeDevices(request, devices) : undefined;
  const isMissing = !devices && profile.nvidia !== undefined && !profile.nvidia.allow_absent_devices;
  const verdict = judged ? withDevices(request, own, judged) : isMissing ? withMissing(own) : own;
  const parts = (judged ?? []).map((device, index) => [`gpu${index}`, { tee: NVIDIA_KIND, verdict: device }] as const);
  return { verdict, submodules: { cpu0: { tee: kind, verdict }, ...Object.fromEntries(parts) } };
}

/** Manifests can be judged too, but everybody has them; answers of another service are that service's word. */
export function isEvidence(file: Uint8Array): boolean {
  try {
    return !["rim", "nras"].includes(readEvidenceForm(file).form);
  } catch (error) {
    if (refusedRule(error) === undefined) throw error;
    return true;
  }
}

function noEvidence(): Verdict<unknown> {
  const rules = new Rules();
  rules.fail("evidence.form", "This is no evidence of a machine.");
  return { verdict: "refused", rules: rules.list, advisories: [] };
}

function withMissing(cpu: Verdict<unknown>): Verdict<unknown> {
  return refuse(cpu, "nvidia.devices.missing", "The profile asks for the machine's devices: add their evidence.");
}

function refuse(verdict: Verdict<unknown>, id: string, message: string): Verdict<unknown> {
  const rules = new Rules();
  rules.fail(id, message);
  return { ...verdict, verdict: "refused", rules: [...verdict.rules, ...rules.list] };
}

function judgeDevices(request: MachineRequest, data: Uint8Array): readonly Verdict<GpuClaims>[] {
  try {
    const { profile, nonce } = needsOf(request);
    const { rims, ocsp } = request.collateral;
    const { anchors, caches } = request;
    const judge = createDevicesJudge({
      ...{ profile, rims, ocsp },
      ...(anchors?.nvidia ? { anchors: anchors.nvidia } : {}),
      ...(caches ? { cache: caches.nvidia } : {}),
    });
    return judge(parseGpuEvidence(data), nonce, request.now);
  } catch (error) {
    const rule = refusedRule(error);
    if (rule === undefined) throw error;
    const rules = new Rules();
    rules.fail(rule, "The evidence of the devices cannot be judged.");
    return [{ verdict: "refused", rules: rules.list, advisories: [] }];
  }
}

function needsOf({ profile, deviceNonce }: MachineRequest): { profile: NvidiaProfile; nonce: Uint8Array } {
  if (!profile.nvidia) throw evidenceRefused("profile.tee");
  if (!deviceNonce) throw evidenceRefused("nvidia.devices.unasked");
  return { profile: profile.nvidia, nonce: deviceNonce };
}

function withDevices(
  { profile, deviceNonce = new Uint8Array() }: MachineRequest,
  cpu: Verdict<unknown>,
  devices: readonly Verdict<GpuClaims>[],
): Verdict<unknown> {
  if (!profile.nvidia) return refuse(cpu, "profile.tee", "The profile takes no devices: add a section nvidia.");
  const verdict = verifyComposite({ cpu, devices, nonce: deviceNonce, profile: profile.nvidia });
  const rules = new Rules();
  rules.skip(
    "nvidia.composite.covered",
    "Whether the report data covers the evidence of the devices is known to whoever made it: see spec/key-release.md.",
  );
  return { ...verdict, rules: [...verdict.rules, ...rules.list] };
}
