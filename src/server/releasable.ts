/** What the key release needs to know of a published model. */
import type { PublishedModel } from "../contract/index.ts";
import type { ReleasableModel } from "../release/index.ts";

export function releasableModel(ref: string, model: PublishedModel | undefined): ReleasableModel | undefined {
  return (
    model && {
      ref,
      packageId: model.package_id,
      rootDigest: model.root_digest,
      signerKeyId: model.signer_key_id,
      scanVerdict: model.scan_verdict,
      vulnerabilities: model.vulnerabilities,
      advisoriesMatched: model.advisories_matched,
    }
  );
}
