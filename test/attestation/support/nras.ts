/** What NVIDIA's attestation service says of one GPU in order, under the key of a test authority. */
import { createHash } from "node:crypto";
import { toHex, utf8 } from "../../../src/base/index.ts";
import { type makeNras, NONCE, NOW } from "./nvidia.ts";

export type Nras = ReturnType<typeof makeNras>;

export const ISSUER = "https://nras.attestation.nvidia.com";
export const seconds = NOW / 1000;
export const times = { iat: seconds, nbf: seconds, exp: seconds + 3600 };
export const chain = { "x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "good" };
export const PASSED = [
  "arch-check",
  "attestation-report-parsed",
  "attestation-report-nonce-match",
  "attestation-report-signature-verified",
  "attestation-report-cert-chain-fwid-match",
  "driver-rim-fetched",
  "driver-rim-schema-validated",
  "driver-rim-signature-verified",
  "driver-rim-version-match",
  "driver-rim-measurements-available",
  "vbios-rim-fetched",
  "vbios-rim-schema-validated",
  "vbios-rim-signature-verified",
  "vbios-rim-version-match",
  "vbios-rim-measurements-available",
  "vbios-index-no-conflict",
];
export const deviceClaims = {
  iss: ISSUER,
  eat_nonce: toHex(NONCE),
  ...times,
  measres: "success",
  secboot: true,
  dbgstat: "disabled",
  ueid: "1234",
  hwmodel: "GH100 A01 GSP BROM",
  "x-nvidia-gpu-driver-version": "580.1",
  "x-nvidia-gpu-vbios-version": "96.00.74.00.20",
  ...Object.fromEntries(PASSED.map((check) => [`x-nvidia-gpu-${check}`, true])),
  "x-nvidia-gpu-attestation-report-cert-chain": chain,
  "x-nvidia-gpu-driver-rim-cert-chain": chain,
  "x-nvidia-gpu-vbios-rim-cert-chain": chain,
};
export const overallClaims = {
  iss: ISSUER,
  sub: "NVIDIA-PLATFORM-ATTESTATION",
  "x-nvidia-ver": "3.0",
  "x-nvidia-overall-att-result": true,
  eat_nonce: toHex(NONCE),
  ...times,
};
export const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** The whole answer: the overall token with the digests of the others. */
export function goodAnswer(nras: Nras): Uint8Array {
  const token = nras.token(deviceClaims);
  const submods = { "GPU-0": ["DIGEST", ["SHA-256", sha256(token)]] };
  return utf8(JSON.stringify([["JWT", nras.token({ ...overallClaims, submods })], { "GPU-0": token }]));
}
