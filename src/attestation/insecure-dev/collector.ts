/** Makes evidence that proves nothing, in the shape of evidence that does: for development without a TEE. */
import { generateKeyPairSync, sign } from "node:crypto";
import { toBase64, toHex } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import type { EvidenceCollector } from "../attestation.ts";
import { attestationError } from "../errors.ts";
import { ATTESTATION_LIMITS } from "../limits.ts";
import { INSECURE_DEV_KIND, signedBytes } from "./format.ts";
import { type LaunchDescription, parseLaunch } from "./launch.ts";

export function createInsecureDevCollector(options: { readonly launch: LaunchDescription }): EvidenceCollector {
  const launch = parseLaunch(options.launch);
  return {
    kind: INSECURE_DEV_KIND,
    async collect(reportData) {
      if (reportData.length !== ATTESTATION_LIMITS.reportDataBytes) {
        throw attestationError("LAUNCH_INVALID", { detail: `report data of ${reportData.length} bytes` });
      }
      return { kind: INSECURE_DEV_KIND, data: makeEvidence(launch, reportData) };
    },
  };
}

function makeEvidence(launch: LaunchDescription, reportData: Uint8Array): Uint8Array {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const unsigned = {
    kind: INSECURE_DEV_KIND,
    launch,
    report_data: toHex(reportData),
    public_key: toBase64(publicKey.export({ type: "spki", format: "der" })),
  } as const;
  const signature = sign("sha256", signedBytes(unsigned), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return jcs({ ...unsigned, signature: toBase64(signature) });
}
