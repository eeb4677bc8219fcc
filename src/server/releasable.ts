/** What the key release needs to know of a published model. */
import { ModelkeepError } from "../base/index.ts";
import { keyNotGranted, type ReleasableModel } from "../release/index.ts";
import type { ModelRegistry } from "./models.ts";

/** Throws KEY_NOT_GRANTED when the signer policy of now does not accept the model any more. */
export async function releasableModel(
  ref: string,
  models: Pick<ModelRegistry, "get" | "signers">,
): Promise<ReleasableModel | undefined> {
  const model = await models.get(ref);
  if (!model) return undefined;
  return {
    ref,
    packageId: model.package_id,
    rootDigest: model.root_digest,
    signerKeyId: model.signer_key_id,
    signers: await acceptedSigners(ref, models),
    scanVerdict: model.scan_verdict,
    vulnerabilities: model.vulnerabilities,
    advisoriesMatched: model.advisories_matched,
  };
}

async function acceptedSigners(ref: string, models: Pick<ModelRegistry, "signers">): Promise<readonly string[]> {
  try {
    return await models.signers(ref);
  } catch (error) {
    if (error instanceof ModelkeepError && error.code === "SIGNER_POLICY_REFUSED")
      throw keyNotGranted("signer-policy", error);
    throw error;
  }
}
