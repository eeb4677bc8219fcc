/** The server's half of a key release: challenge, appraisal, policy, KMS, seal, record. */
import type { KeyObject } from "node:crypto";
import type { AttestedClaims, AttestedDevices, Evidence } from "../attestation/index.ts";
import {
  type AuditEvent,
  type Caller,
  entityText,
  fromBase64Url,
  ModelkeepError,
  type PolicyDecision,
  wipe,
} from "../base/index.ts";
import type { ReleaseReply, ReleaseRequest } from "../contract/index.ts";
import { deviceNonceOf, digestDevices, type ReleaseBinding, reportDataOf, sealAad, sealInfo } from "./binding.ts";
import { Challenges } from "./challenges.ts";
import { keyNotGranted, releaseError } from "./errors.ts";
import { readPublicKey, sealTo } from "./hpke.ts";
import { RELEASE_LIMITS } from "./limits.ts";
import type { ReleasableModel, ReleasePorts, ReleaseService } from "./release.ts";

export function createReleaseService<Model extends ReleasableModel>(ports: ReleasePorts<Model>): ReleaseService {
  const challenges = new Challenges(ports);
  return {
    challenge: (caller) => challenges.issue(caller),
    release: (request, caller) => new Release(ports, request, caller).run(challenges),
  };
}

/** One request on its way; what is known so far goes into the record, however it ends. */
class Release<Model extends ReleasableModel> {
  readonly #ports: ReleasePorts<Model>;
  readonly #request: ReleaseRequest;
  readonly #caller: Caller;
  #binding: ReleaseBinding;
  #claims: AttestedClaims | undefined;
  #model: Model | undefined;
  #decision: PolicyDecision | undefined;

  constructor(ports: ReleasePorts<Model>, request: ReleaseRequest, caller: Caller) {
    this.#ports = ports;
    this.#request = request;
    this.#caller = caller;
    this.#binding = { nonce: request.nonce, publicKey: request.public_key, model: request.model };
  }

  async run(challenges: Challenges): Promise<ReleaseReply> {
    try {
      await challenges.consume(this.#request.nonce, this.#caller);
      const publicKey = readPublicKey(this.#request.public_key);
      if (!publicKey) throw keyNotGranted("request.public-key");
      this.#claims = await this.#appraise();
      this.#model = await this.#ports.findModel(this.#request.model);
      if (!this.#model) throw keyNotGranted("model.unknown");
      this.#decision = this.#decide(this.#model, this.#claims);
      if (!this.#decision.allowed) throw keyNotGranted(ruleOf(this.#decision));
      return await this.#seal(publicKey, this.#model, this.#decision);
    } catch (error) {
      throw await this.#recordRefusal(error);
    }
  }

  async #appraise(): Promise<AttestedClaims> {
    const { evidence } = this.#request;
    const data = fromBase64Url(evidence.data);
    const devices = evidence.devices === undefined ? undefined : fromBase64Url(evidence.devices);
    if (!data || (evidence.devices !== undefined && !devices)) throw keyNotGranted("evidence.format");
    if (devices) this.#binding = { ...this.#binding, devices: digestDevices(devices) };
    const given: Evidence = { kind: evidence.kind, data, ...(devices ? { devices } : {}) };
    const binding = { reportData: reportDataOf(this.#binding), deviceNonce: deviceNonceOf(this.#binding) };
    try {
      return await this.#ports.verifiers.verify(given, binding, this.#ports.clock.now());
    } catch (error) {
      if (error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED") {
        throw keyNotGranted(String(error.extra?.rule ?? "evidence"), error);
      }
      throw error;
    }
  }

  #decide(model: Model, claims: AttestedClaims): PolicyDecision {
    return this.#ports.authorizer().decide({
      principal: this.#caller.principal,
      groups: this.#caller.groups,
      action: "releaseKey",
      resource: { type: "Model", id: model.ref },
      context: releaseContext(model, claims),
    });
  }

  async #seal(publicKey: KeyObject, model: Model, decision: PolicyDecision): Promise<ReleaseReply> {
    const key = await this.#unwrap(model);
    try {
      const context = { info: sealInfo(this.#binding, model.packageId), aad: sealAad(this.#binding) };
      const sealed = sealTo(publicKey, key, context);
      await this.#ports.recorder.record(this.#event("allowed", decision.policies));
      return { package_id: model.packageId, ...sealed, policies: [...decision.policies] };
    } finally {
      wipe(key);
    }
  }

  async #unwrap(model: Model): Promise<Uint8Array> {
    const key = await this.#ports.unwrapKey(model);
    if (key.length === RELEASE_LIMITS.packageKeyBytes) return key;
    wipe(key);
    throw releaseError("KEY_UNAVAILABLE", { detail: "the envelope does not hold a package key" });
  }

  /** What could not be recorded is still refused; the log of the server says that the record failed. */
  async #recordRefusal(error: unknown): Promise<unknown> {
    const refused = error instanceof ModelkeepError && error.code === "KEY_NOT_GRANTED";
    const reason = refused
      ? [String(error.extra?.rule), ...(this.#decision?.policies ?? [])]
      : [error instanceof ModelkeepError ? error.code : "INTERNAL"];
    try {
      await this.#ports.recorder.record(this.#event(refused ? "refused" : "failed", reason));
    } catch (cause) {
      this.#ports.log.error("a refused key release was not recorded", { error: cause });
    }
    return error;
  }

  #event(outcome: AuditEvent["outcome"], reason: readonly string[]): AuditEvent {
    const claims = this.#claims;
    const model = this.#model;
    return {
      action: "key.release",
      outcome,
      principal: entityText(this.#caller.principal),
      resource: entityText({ type: "Model", id: this.#request.model }),
      ...(model ? { modelRoot: model.rootDigest } : {}),
      reason,
      data: {
        token: this.#caller.tokenId,
        ...(model ? { package_id: model.packageId } : {}),
        ...(claims ? { attestation: claims.kind, measurement: claims.measurement, debug: claims.debug } : {}),
        ...(claims?.devices ? { devices: claims.devices.measurement, ueids: claims.devices.ueids.join(" ") } : {}),
      },
    };
  }
}

/** What policy may look at, in the names of the Cedar schema. */
export function releaseContext(model: ReleasableModel, claims: AttestedClaims): Record<string, unknown> {
  const { critical, high, medium, low, malware, unknown, kev, worst, ageHours, ...closed } = model.vulnerabilities;
  return {
    attestation: attestationContext(claims),
    signature: { keyId: model.signerKeyId, rootDigest: model.rootDigest, signers: [...(model.signers ?? [])] },
    scan: { verdict: model.scanVerdict },
    vulnerabilities: {
      critical,
      high,
      medium,
      low,
      malware,
      ...(unknown === undefined ? {} : { unknown }),
      ...(model.advisoriesMatched === undefined ? {} : { advisoriesMatched: model.advisoriesMatched }),
      ...(kev === undefined ? {} : { kev }),
      ...(worst === undefined ? {} : { worst }),
      ...(ageHours === undefined ? {} : { ageHours }),
      ...(closed.notAffected === undefined ? {} : { notAffected: closed.notAffected }),
      ...(closed.waived === undefined ? {} : { waived: closed.waived }),
    },
    ...(model.bom ? { bom: { ...model.bom, licenses: [...model.bom.licenses] } } : {}),
  };
}

function attestationContext({ kind, measurement, debug, tcbStatus, product, advisories, devices }: AttestedClaims) {
  return {
    ...{ kind, measurement, debug },
    ...(tcbStatus === undefined ? {} : { tcbStatus }),
    ...(product === undefined ? {} : { product }),
    ...(advisories === undefined ? {} : { advisories: advisories.length }),
    ...(devices ? { devices: devicesContext(devices) } : {}),
  };
}

function devicesContext({ gpus, switches, measurement }: AttestedDevices) {
  return { gpus, switches, measurement };
}

function ruleOf(decision: PolicyDecision): string {
  if (decision.policies.length > 0) return `policy.forbidden: ${decision.policies.join(", ")}`;
  return decision.errors.length > 0 ? "policy.error" : "policy.not-permitted";
}
