/** Answers the routes of attestation as a service. */
import { createHash } from "node:crypto";
import {
  attestationError,
  EAR_LIMITS,
  type EarKeys,
  type MachineRequest,
  type MachineResult,
  makeEar,
  type Verdict,
} from "../../attestation/index.ts";
import { type Caller, type Clock, entityText, fromBase64Url, fromHex, type Recorder } from "../../base/index.ts";
import * as contract from "../../contract/index.ts";
import { serverError } from "../errors.ts";
import type { EvidenceJudge } from "../evidence.ts";
import { authenticated, type Implementation, open } from "../handler.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

const LOCAL = { type: "Server", id: "local" };

export interface AttestationRouteServices extends PolicyPorts {
  /** Undefined: the server has no profile. */
  readonly judge: EvidenceJudge | undefined;
  readonly earKeys: EarKeys;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly version: string;
  /** Who the results are of; absent: the address that the client used. */
  readonly issuer?: string;
}

type Body = ReturnType<typeof contract.appraiseRequest.parse>;

export function attestationRoutes(services: AttestationRouteServices): Implementation[] {
  const { earKeys, recorder } = services;
  return [
    authenticated(contract.appraiseEvidence, async ({ body, url }, caller) => {
      await requireDecision(services, caller, "appraiseEvidence", LOCAL);
      return appraise(services, body, { caller, issuer: services.issuer ?? new URL(url).origin });
    }),
    open(contract.getEarKeys, async () => ({ keys: [...(await earKeys.published())] })),
    authenticated(contract.rotateEarKey, async (_request, caller) => {
      await requireDecision(services, caller, "manageAttestation", LOCAL);
      const keys = await earKeys.rotate();
      await recorder.record({
        ...{ action: "attestation.rotate", outcome: "allowed", principal: entityText(caller.principal) },
        ...{ resource: entityText(LOCAL), reason: [], data: { key_id: keys[0]?.kid ?? "" } },
      });
      return { keys: [...keys] };
    }),
  ];
}

async function appraise(
  services: AttestationRouteServices,
  body: Body,
  { caller, issuer }: { readonly caller: Caller; readonly issuer: string },
): Promise<contract.AppraiseReply> {
  if (!services.judge) throw attestationError("NO_PROFILE");
  const request = readRequest(body);
  const { result, policyId } = await services.judge(request);
  const now = services.clock.now();
  const input = {
    ...{ submodules: result.submodules, issuer, policyId, now, version: services.version },
    lifeSeconds: body.life_seconds ?? EAR_LIMITS.lifeSeconds,
    ...(body.ear_profile ? { profile: body.ear_profile } : {}),
    ...(request.expectedReportData ? { nonce: request.expectedReportData } : {}),
  };
  const ear = await services.earKeys.withSigner((signer) => makeEar(input, signer));
  await recordResult(services, caller, { request, result });
  return { ...toWire(result.verdict), ear };
}

type Asked = Omit<MachineRequest, "profile" | "collateral" | "now">;

function readRequest(body: Body): Asked {
  const evidence = fromBase64Url(body.evidence);
  const devices = body.devices === undefined ? undefined : fromBase64Url(body.devices);
  if (!evidence || (body.devices !== undefined && !devices)) throw invalid("evidence: base64url");
  const bound = body.report_data === undefined ? undefined : fromHex(body.report_data);
  const nonce = body.device_nonce === undefined ? undefined : fromHex(body.device_nonce);
  if (body.kind === "nvidia") {
    if (devices || bound) throw invalid("nvidia: devices are the evidence, and device_nonce is what they signed");
    return { kind: body.kind, evidence, ...(nonce ? { expectedReportData: nonce } : {}) };
  }
  if (nonce && !devices) throw invalid("device_nonce: it belongs to devices");
  return {
    ...{ kind: body.kind, evidence },
    ...(devices ? { devices } : {}),
    ...(bound ? { expectedReportData: bound } : {}),
    ...(nonce ? { deviceNonce: nonce } : {}),
  };
}

const invalid = (detail: string) => serverError("INVALID_BODY", { detail });

async function recordResult(
  { recorder }: AttestationRouteServices,
  { principal, tokenId }: Caller,
  { request, result }: { readonly request: Asked; readonly result: MachineResult },
): Promise<void> {
  const failed = result.verdict.rules.filter((rule) => rule.result === "failed").map(({ id }) => id);
  const evidence = createHash("sha256").update(request.evidence).digest("hex");
  await recorder.record({
    action: "attestation.appraise",
    outcome: result.verdict.verdict === "accepted" ? "allowed" : "refused",
    principal: entityText(principal),
    resource: entityText(LOCAL),
    reason: [...new Set(failed)].slice(0, 8),
    data: { token: tokenId, attestation: request.kind, evidence },
  });
}

function toWire({ verdict, tcbStatus, advisories, rules }: Verdict<unknown>): Omit<contract.AppraiseReply, "ear"> {
  return {
    verdict,
    ...(tcbStatus === undefined ? {} : { tcb_status: tcbStatus }),
    advisories: [...advisories],
    rules: rules.map((rule) => ({ ...rule })),
  };
}
