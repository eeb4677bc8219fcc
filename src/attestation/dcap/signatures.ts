/** The two signatures of a quote: the machine's key over the quoting enclave, the enclave's key over the report. */
import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { equalBytes, toBase64Url } from "../../base/index.ts";
import { verifyRawEcdsa } from "../../codec/index.ts";
import type { Rules } from "../verdict.ts";
import type { Quote } from "./evidence.ts";
import { keepRead } from "./kept.ts";

/** ECDSA on P-256 with SHA-256; the signature is r || s. */
export function verifyRawSignature(bytes: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  if (signature.length !== 64 || key.asymmetricKeyDetails?.namedCurve !== "prime256v1") return false;
  return verifyRawEcdsa("sha256", bytes, key, signature);
}

/** A platform signs with the same key until its firmware changes. */
const keyOf = keepRead((point: Uint8Array) => {
  const [x, y] = [point.subarray(0, 32), point.subarray(32)].map(toBase64Url);
  return createPublicKey({ key: { kty: "EC", crv: "P-256", x: x ?? "", y: y ?? "" }, format: "jwk" });
});

/** Undefined when x || y is no point of the curve. */
function readPoint(point: Uint8Array): KeyObject | undefined {
  try {
    return keyOf(point);
  } catch {
    return undefined;
  }
}

export function checkQuoteSignatures(rules: Rules, quote: Quote, pckKey: KeyObject | undefined): void {
  const qeSigned = pckKey !== undefined && verifyRawSignature(quote.qeReportBytes, quote.qeReportSignature, pckKey);
  rules.check("dcap.qe-report.signature", qeSigned, {
    passed: "The machine's certified key signed the quoting enclave's report.",
    failed: "The machine's certified key did not sign the quoting enclave's report.",
  });
  rules.check("dcap.qe-report.key", equalBytes(boundKey(quote), quote.qeReport.reportData), {
    passed: "The quoting enclave vouches for the key that signed the quote.",
    failed: "The quoting enclave vouches for another key than the one in the quote.",
  });
  const key = readPoint(quote.attestationKey);
  rules.check(
    "dcap.quote.signature",
    key !== undefined && verifyRawSignature(quote.signedBytes, quote.signature, key),
    {
      passed: "The quoting enclave's key signed the quote.",
      failed: "The quote, its signature or its key was changed.",
    },
  );
}

/** SHA-256 of key and authentication data, then zeros: all 64 bytes of the quoting enclave's report data. */
function boundKey(quote: Quote): Uint8Array {
  const out = new Uint8Array(64);
  out.set(createHash("sha256").update(quote.attestationKey).update(quote.qeAuthData).digest());
  return out;
}
