/** The client's half of a key release, run inside the environment that asks: the private key never leaves it. */
import type { DeviceCollector, Evidence, EvidenceCollector } from "../attestation/index.ts";
import { fromBase64Url, toBase64Url } from "../base/index.ts";
import { type ApiClient, challengeRelease, releaseKey } from "../contract/index.ts";
import { GuardedBytes } from "../host/index.ts";
import { deviceNonceOf, digestDevices, type ReleaseBinding, reportDataOf, sealAad, sealInfo } from "./binding.ts";
import { releaseError } from "./errors.ts";
import { createFreshKey } from "./hpke.ts";
import { RELEASE_LIMITS } from "./limits.ts";

export interface PackageKeyRequest {
  readonly api: ApiClient;
  readonly collector: EvidenceCollector;
  /** Asked first, so that the processor's evidence covers theirs; absent: the processor alone is shown. */
  readonly devices?: DeviceCollector;
  /** `name@version`. */
  readonly model: string;
  /** The package the caller is about to open: a key of another one is refused. */
  readonly packageId: string;
}

/** Fails with KEY_NOT_GRANTED, or KEY_NOT_OPENED when the answer was not made for this request. The caller wipes. */
export async function requestPackageKey(request: PackageKeyRequest): Promise<GuardedBytes> {
  const { api, model, packageId } = request;
  const fresh = createFreshKey();
  const { nonce } = await api.call(challengeRelease, { body: {} });
  if (fromBase64Url(nonce)?.length !== RELEASE_LIMITS.nonceBytes) throw releaseError("KEY_NOT_OPENED");
  const { evidence, binding } = await collect(request, { nonce, publicKey: fresh.publicKey, model });
  const reply = await api.call(releaseKey, {
    body: {
      nonce,
      public_key: fresh.publicKey,
      model,
      evidence: {
        kind: evidence.kind,
        data: toBase64Url(evidence.data),
        ...(evidence.devices ? { devices: toBase64Url(evidence.devices) } : {}),
      },
    },
  });
  if (reply.package_id !== packageId) throw releaseError("KEY_NOT_OPENED", { detail: "it belongs to another package" });
  const key = await fresh.open(reply, { info: sealInfo(binding, packageId), aad: sealAad(binding) });
  if (key?.length !== RELEASE_LIMITS.packageKeyBytes) {
    key?.fill(0);
    throw releaseError("KEY_NOT_OPENED");
  }
  return GuardedBytes.take(key);
}

interface Collected {
  readonly evidence: Evidence;
  readonly binding: ReleaseBinding;
}

async function collect({ collector, devices }: PackageKeyRequest, asked: ReleaseBinding): Promise<Collected> {
  if (!devices) return { binding: asked, evidence: await collector.collect(reportDataOf(asked)) };
  const shown = await devices.collect(deviceNonceOf(asked));
  const binding = { ...asked, devices: digestDevices(shown) };
  return { binding, evidence: { ...(await collector.collect(reportDataOf(binding))), devices: shown } };
}
