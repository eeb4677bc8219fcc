/** Judges development evidence as strictly as real evidence; only the claim itself is worth nothing. */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { equalBytes, fromBase64, fromHex, parseJson } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import type { EvidenceVerifier } from "../attestation.ts";
import { brandClaims } from "../claims.ts";
import { attestationError, evidenceRefused } from "../errors.ts";
import { ATTESTATION_LIMITS } from "../limits.ts";
import { INSECURE_DEV_KIND, type InsecureEvidence, insecureEvidence, signedBytes } from "./format.ts";
import { measureLaunch } from "./launch.ts";

/** Exists only where it was allowed in so many words. Its claims always say `debug`. */
export function createInsecureDevVerifier(options: { readonly allowInsecureDev: boolean }): EvidenceVerifier {
  if (options.allowInsecureDev !== true) throw attestationError("INSECURE_NOT_ALLOWED");
  return {
    kind: INSECURE_DEV_KIND,
    async verify(evidence, expectedReportData) {
      if (evidence.kind !== INSECURE_DEV_KIND) throw evidenceRefused("evidence.kind");
      const parsed = readEvidence(evidence.data);
      checkSignature(parsed);
      const reportData = fromHex(parsed.report_data) ?? new Uint8Array(0);
      if (!equalBytes(reportData, expectedReportData)) throw evidenceRefused("evidence.report-data");
      return brandClaims({
        kind: INSECURE_DEV_KIND,
        measurement: measureLaunch(parsed.launch),
        debug: true,
        reportData,
      });
    },
  };
}

function readEvidence(data: Uint8Array): InsecureEvidence {
  let value: unknown;
  try {
    value = parseJson(data, { maxBytes: ATTESTATION_LIMITS.insecureEvidenceBytes, maxDepth: 8, what: "evidence" });
  } catch (error) {
    throw evidenceRefused("evidence.format", error);
  }
  const parsed = insecureEvidence.safeParse(value);
  if (!parsed.success) throw evidenceRefused("evidence.format", parsed.error);
  if (!isCanonical(parsed.data, data)) throw evidenceRefused("evidence.format");
  return parsed.data;
}

/** One spelling only: what was signed is what is there. */
function isCanonical(evidence: InsecureEvidence, data: Uint8Array): boolean {
  try {
    return equalBytes(jcs(evidence), data);
  } catch {
    return false;
  }
}

function checkSignature(evidence: InsecureEvidence): void {
  const signature = fromBase64(evidence.signature);
  if (signature?.length !== 64) throw evidenceRefused("evidence.signature");
  const key = { key: readKey(evidence.public_key), dsaEncoding: "ieee-p1363" } as const;
  if (!verify("sha256", bytesToVerify(evidence), key, signature)) throw evidenceRefused("evidence.signature");
}

function bytesToVerify(evidence: InsecureEvidence): Uint8Array {
  try {
    return signedBytes(evidence);
  } catch (error) {
    throw evidenceRefused("evidence.format", error);
  }
}

function readKey(base64: string): KeyObject {
  const der = fromBase64(base64);
  if (!der) throw evidenceRefused("evidence.format");
  try {
    const key = createPublicKey({ key: Buffer.from(der), type: "spki", format: "der" });
    if (key.asymmetricKeyDetails?.namedCurve === "prime256v1") return key;
  } catch (error) {
    throw evidenceRefused("evidence.format", error);
  }
  throw evidenceRefused("evidence.format");
}
