/** Judges evidence of any TEE under a profile, with the collateral that is at hand: one door for command line and server. */
import { fromHex } from "../base/index.ts";
import { nvidiaEvidenceOf } from "./appraisal-devices.ts";
import { dcapEvidenceOf, type EvidenceForm, readEvidenceForm } from "./appraisal-evidence.ts";
import { type AppraisalProfile, appraisalProfile, type TeeKind } from "./appraisal-profile.ts";
import type { Anchors } from "./appraisal-verifiers.ts";
import { parseHclReport } from "./azure/hcl.ts";
import { verifyAzureSnp } from "./azure/snp.ts";
import { findDcapCollateral } from "./collateral/dcap.ts";
import type { CollateralSet } from "./collateral/set.ts";
import { snpJudgeOf } from "./collateral/snp.ts";
import type { DcapCache } from "./dcap/cache.ts";
import { type DcapJudgeOptions, judgeQuote } from "./dcap/judge.ts";
import { evidenceRefused, refusedRule } from "./errors.ts";
import type { NvidiaCache } from "./nvidia/cache.ts";
import { NVIDIA_LIMITS } from "./nvidia/limits.ts";
import { parseNrasAnswer, verifyNrasToken } from "./nvidia/nras.ts";
import { verifyRim } from "./nvidia/rim.ts";
import { createNvidiaJudge } from "./nvidia/verifier.ts";
import type { SgxProfile } from "./sgx/profile.ts";
import { parseSnpEvidence, type SnpJudge } from "./snp/verifier.ts";
import { verifyAzureTdx } from "./tdx/azure.ts";
import type { TdxProfile } from "./tdx/profile.ts";
import { Rules, type Verdict } from "./verdict.ts";

export interface AppraisalRequest {
  readonly kind: TeeKind;
  /** Bytes of any form that `readEvidenceForm` knows. */
  readonly evidence: Uint8Array;
  /** Absent: what the evidence and the collateral themselves show; see `profileForInspection`. */
  readonly profile?: AppraisalProfile;
  readonly collateral: CollateralSet;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** 64 bytes, of which devices sign the first 32; absent: the rule stays unchecked. */
  readonly expectedReportData?: Uint8Array;
  /** Of a server: what signatures have shown before. */
  readonly caches?: AppraisalCaches;
  /** Other pins than the vendors', for tests with roots of their own. */
  readonly anchors?: Anchors;
}

export interface AppraisalCaches {
  readonly dcap: DcapCache;
  readonly nvidia: NvidiaCache;
}

type Judging = AppraisalRequest & { readonly profile: AppraisalProfile };

/** Never throws for what the evidence says: what cannot be read is a failed rule. */
export async function appraise(request: AppraisalRequest): Promise<Verdict<unknown>> {
  const profile = request.profile ?? profileForInspection(request.collateral);
  try {
    const verdict = await judge({ ...request, profile }, readEvidenceForm(request.evidence));
    return request.profile ? verdict : withUnasked(verdict);
  } catch (error) {
    const rule = refusedRule(error);
    if (rule === undefined) throw error;
    return refusal(rule, "It cannot be read.");
  }
}

/**
 * What is judged where nobody said what is needed: everything that the evidence shows about itself stays strict, what
 * nobody brought along is left unchecked and not refused. A profile file, even an empty section of one, is strict.
 */
export function profileForInspection({ crls, ocsp }: CollateralSet): AppraisalProfile {
  const intel = { require_revocation_lists: crls.length > 0 };
  return appraisalProfile.parse({
    name: "inspection",
    snp: {
      products: ["Milan", "Genoa", "Turin"],
      allow_any_tcb: true,
      required_platform: [],
      require_crl: crls.length > 0,
    },
    tdx: intel,
    sgx: intel,
    nvidia: {
      require_rims: false,
      require_ocsp: ocsp.length > 0,
      cc_state: "if-present",
      allow_absent_fwid: true,
      allow_absent_switches: true,
    },
    azure: { allow_any_pcrs: true },
  });
}

function withUnasked(verdict: Verdict<unknown>): Verdict<unknown> {
  const rules = new Rules();
  rules.skip(
    "profile.given",
    "No profile was given: lowest firmware, measurements and whatever was not brought along were not asked for.",
    { need: "a profile" },
  );
  return { ...verdict, rules: [...verdict.rules, ...rules.list] };
}

function judge(request: Judging, form: EvidenceForm): Verdict<unknown> | Promise<Verdict<unknown>> {
  const { profile, kind } = request;
  if (!profile[kind]) return refusal("profile.tee", `The profile does not accept this TEE: add a section ${kind}.`);
  if (form.form === "azure" || form.form === "hcl") return judgeAzure(request, form);
  if (kind === "snp") return judgeSnp(request, form);
  if (kind === "nvidia") return judgeNvidia(request, form);
  const { now, expectedReportData } = request;
  const evidence = dcapEvidenceOf(form);
  if (kind === "tdx" && profile.tdx)
    return judgeQuote(dcapOptions(request, profile.tdx), evidence, now, expectedReportData);
  if (profile.sgx) return judgeQuote(dcapOptions(request, profile.sgx), evidence, now, expectedReportData);
  throw evidenceRefused("profile.tee");
}

function dcapOptions<Profile extends TdxProfile | SgxProfile>(
  { collateral, caches, anchors }: AppraisalRequest,
  profile: Profile,
): DcapJudgeOptions<Profile> {
  return {
    profile,
    collateral: async (wanted) => findDcapCollateral(collateral, wanted),
    ...(caches ? { cache: caches.dcap } : {}),
    ...(anchors?.intel ? { anchors: anchors.intel } : {}),
  };
}

function judgeSnp(request: Judging, form: EvidenceForm): Verdict<unknown> {
  if (form.form !== "plain") throw evidenceRefused("evidence.form");
  return snpJudge(request)(parseSnpEvidence(form.data), request.now, request.expectedReportData);
}

function snpJudge({ profile, collateral, anchors }: Judging): SnpJudge {
  if (!profile.snp) throw evidenceRefused("profile.tee");
  return snpJudgeOf(collateral, profile.snp, anchors?.snp);
}

async function judgeAzure(
  request: Judging,
  form: EvidenceForm & { readonly data: Uint8Array },
): Promise<Verdict<unknown>> {
  const { profile, kind, now, expectedReportData } = request;
  const { azure, tdx } = profile;
  if (!azure) return refusal("profile.tee", "The profile does not accept Azure's machines: add a section azure.");
  if (form.form === "hcl") return judgeBareHcl(request, form.data);
  if (kind === "tdx" && tdx)
    return verifyAzureTdx({ ...dcapOptions(request, tdx), azure }, form.data, now, expectedReportData);
  if (kind !== "snp") throw evidenceRefused("evidence.form");
  const bound = expectedReportData ? { expectedReportData } : {};
  return verifyAzureSnp({ data: form.data, judge: snpJudge(request), azure, now, ...bound });
}

/** The hardware's report alone: genuine or not, but bound to no exchange. */
function judgeBareHcl(request: Judging, data: Uint8Array): Verdict<unknown> {
  const hcl = parseHclReport(data);
  if (hcl.kind !== request.kind) throw evidenceRefused("azure.hcl.kind");
  if (hcl.kind === "tdx") throw evidenceRefused("azure.td-quote");
  const hardware = snpJudge(request)({ report: hcl.hardwareReport, certificates: [] }, request.now, hcl.reportData);
  const rules = new Rules();
  const text = "There is no quote of the machine's TPM: nothing binds the report to an exchange.";
  if (request.expectedReportData) rules.fail("azure.quote.binding", text);
  else rules.skip("azure.quote.binding", text);
  const accepted = hardware.verdict === "accepted" && rules.list[0]?.result !== "failed";
  return { ...hardware, verdict: accepted ? "accepted" : "refused", rules: [...hardware.rules, ...rules.list] };
}

function judgeNvidia(request: Judging, form: EvidenceForm): Verdict<unknown> {
  const { collateral, now, expectedReportData } = request;
  const profile = request.profile.nvidia;
  if (!profile) throw evidenceRefused("profile.tee");
  if (form.form === "rim") return verifyRim(form.data, { profile, now, answers: collateral.ocsp });
  const given = expectedReportData?.subarray(0, NVIDIA_LIMITS.nonceBytes);
  if (form.form === "nras") {
    const expectedNonce = given ?? statedNonce(form.data);
    const verdict = verifyNrasToken({ answer: form.data, keys: collateral.nrasKeys, profile, now, expectedNonce });
    return given ? verdict : { ...verdict, rules: verdict.rules.map(withoutNonce) };
  }
  if (form.form !== "plain") throw evidenceRefused("evidence.form");
  const evidence = nvidiaEvidenceOf(form.data, collateral.chains);
  const nonce = given ?? evidence.devices[0]?.report.nonce ?? new Uint8Array();
  const { caches, anchors } = request;
  const judge = createNvidiaJudge({
    ...{ profile, rims: collateral.rims, ocsp: collateral.ocsp },
    ...(caches ? { cache: caches.nvidia } : {}),
    ...(anchors?.nvidia ? { anchors: anchors.nvidia } : {}),
  });
  const verdict = judge(evidence, nonce, now);
  const claims = { devices: verdict.claims ?? [] };
  return { ...verdict, claims, rules: given ? verdict.rules : verdict.rules.map(withoutNonce) };
}

function statedNonce(answer: Uint8Array): Uint8Array {
  const { eat_nonce: nonce } = parseNrasAnswer(answer).overall.claims as { readonly eat_nonce?: unknown };
  return (typeof nonce === "string" ? fromHex(nonce) : undefined) ?? new Uint8Array(NVIDIA_LIMITS.nonceBytes);
}

const NONCE_RULES = ["nvidia.report.nonce", "nvidia.nras.nonce", "nvidia.devices.nonce", "nvidia.nras.device.token"];

/** Compared with itself, which tells nothing. */
function withoutNonce(rule: Verdict<unknown>["rules"][number]): Verdict<unknown>["rules"][number] {
  if (!NONCE_RULES.includes(rule.id) || rule.result !== "passed") return rule;
  const { need, ...rest } = rule;
  return { ...rest, result: "unchecked", message: "no nonce was expected: the report may be anybody's, and old" };
}

function refusal(rule: string, message: string): Verdict<unknown> {
  const rules = new Rules();
  rules.fail(rule, message);
  return { verdict: rules.verdict, rules: rules.list, advisories: [] };
}
