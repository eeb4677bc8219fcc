/** What the key release needs to know of a published model. */
import { ModelkeepError } from "../base/index.ts";
import { keyNotGranted, type ReleasableModel } from "../release/index.ts";
import type { AdvisoryWatch } from "./advisory-watch.ts";
import type { ModelRegistry } from "./models.ts";

/** The advisories of now where the server has them; else what the publisher said. */
export interface Freshness {
  readonly watch: Pick<AdvisoryWatch, "need"> | undefined;
  readonly nowMs: number;
}

const HOUR_MS = 60 * 60 * 1000;

/** Throws KEY_NOT_GRANTED when the signer policy of now does not accept the model any more. */
export async function releasableModel(
  ref: string,
  models: Pick<ModelRegistry, "get" | "signers">,
  { watch, nowMs }: Freshness,
): Promise<ReleasableModel | undefined> {
  const model = await models.get(ref);
  if (!model) return undefined;
  const now = await watch?.need(ref);
  const matched = now !== undefined || model.advisories_matched;
  const ageMs = nowMs - (now?.matchedAtMs ?? Date.parse(model.published_at));
  return {
    ref,
    packageId: model.package_id,
    rootDigest: model.root_digest,
    signerKeyId: model.signer_key_id,
    signers: await acceptedSigners(ref, models),
    scanVerdict: model.scan_verdict,
    vulnerabilities: {
      ...(now?.counts ?? model.vulnerabilities),
      ...(now ? { kev: now.kev, worst: now.worst, notAffected: now.notAffected, waived: now.waived } : {}),
      ...(matched ? { ageHours: Math.max(0, Math.floor(ageMs / HOUR_MS)) } : {}),
    },
    advisoriesMatched: matched,
    ...(model.bom
      ? {
          bom: {
            keyId: model.signer_key_id,
            score: model.bom.score,
            licenses: model.bom.licenses,
            customCode: model.bom.custom_code,
          },
        }
      : {}),
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
