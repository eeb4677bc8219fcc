/** The client's half of a key release, run inside the environment that asks: the private key never leaves it. */
import type { EvidenceCollector } from "../attestation/index.ts";
import { fromBase64Url, toBase64Url } from "../base/index.ts";
import { type ApiClient, challengeRelease, releaseKey } from "../contract/index.ts";
import { GuardedBytes } from "../host/index.ts";
import { reportDataOf, sealAad, sealInfo } from "./binding.ts";
import { releaseError } from "./errors.ts";
import { createFreshKey } from "./hpke.ts";
import { RELEASE_LIMITS } from "./limits.ts";

export interface PackageKeyRequest {
  readonly api: ApiClient;
  readonly collector: EvidenceCollector;
  /** `name@version`. */
  readonly model: string;
  /** The package the caller is about to open: a key of another one is refused. */
  readonly packageId: string;
}

/** Fails with KEY_NOT_GRANTED, or KEY_NOT_OPENED when the answer was not made for this request. The caller wipes. */
export async function requestPackageKey(request: PackageKeyRequest): Promise<GuardedBytes> {
  const { api, collector, model, packageId } = request;
  const fresh = await createFreshKey();
  const { nonce } = await api.call(challengeRelease, { body: {} });
  if (fromBase64Url(nonce)?.length !== RELEASE_LIMITS.nonceBytes) throw releaseError("KEY_NOT_OPENED");
  const binding = { nonce, publicKey: fresh.publicKey, model };
  const evidence = await collector.collect(reportDataOf(binding));
  const reply = await api.call(releaseKey, {
    body: {
      nonce,
      public_key: fresh.publicKey,
      model,
      evidence: { kind: evidence.kind, data: toBase64Url(evidence.data) },
    },
  });
  if (reply.package_id !== packageId) throw releaseError("KEY_NOT_OPENED", { detail: "it belongs to another package" });
  const key = await fresh.open(reply, sealInfo(binding, packageId), sealAad(binding));
  if (key?.length !== RELEASE_LIMITS.packageKeyBytes) {
    key?.fill(0);
    throw releaseError("KEY_NOT_OPENED");
  }
  return GuardedBytes.take(key);
}
