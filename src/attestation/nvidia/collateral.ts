/** Where NVIDIA publishes manifests and answers about certificates, and what to ask there; nothing here opens a connection. */
import { z } from "zod";
import { fromBase64, parseJson } from "../../base/index.ts";
import { type Certificate, encodeOcspRequest } from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import { NVIDIA_LIMITS } from "./limits.ts";

export const NVIDIA_OCSP_URL = "http://ocsp.ndis.nvidia.com";
export const NVIDIA_RIM_URL = "https://rim.attestation.nvidia.com";
export const NVIDIA_NRAS_KEYS_URL = "https://nras.attestation.nvidia.com/.well-known/jwks.json";

/** `id` as rimIds gives it. Throws EVIDENCE_REFUSED `nvidia.rim.id` for text that is none: part of it is the device's word. */
export function rimUrl(id: string, base: string = NVIDIA_RIM_URL): string {
  if (!/^NV_[A-Za-z0-9_.]{1,120}$/.test(id)) throw evidenceRefused("nvidia.rim.id");
  return `${base}/v1/rim/${id}`;
}

const answer = z.looseObject({ id: z.string(), rim: z.string().max(NVIDIA_LIMITS.rimBytes * 2) });

/** The XML in the service's JSON. Its signature is for parseRim to check. Throws EVIDENCE_REFUSED `nvidia.rim.answer`. */
export function parseRimAnswer(data: Uint8Array, id: string): Uint8Array {
  try {
    const limits = { maxBytes: NVIDIA_LIMITS.rimBytes * 2, maxDepth: 4, what: "manifest" };
    const parsed = answer.parse(parseJson(data, limits));
    const xml = fromBase64(parsed.rim);
    if (!xml || parsed.id !== id) throw new Error("another manifest, or not base64");
    return xml;
  } catch (error) {
    throw evidenceRefused("nvidia.rim.answer", error);
  }
}

export interface OcspQuestion {
  readonly certificate: Certificate;
  readonly issuer: Certificate;
  /** DER of the request, to be sent as `application/ocsp-request`. */
  readonly request: Uint8Array;
}

/**
 * One question for each certificate that somebody answers for. `chain` is leaf first and root last; the leaf of a device
 * is made by the chip, and nobody answers for it.
 */
export function ocspQuestions(chain: readonly Certificate[], of: "device" | "rim"): readonly OcspQuestion[] {
  return chain.slice(0, -1).flatMap((certificate, i) => {
    const issuer = chain[i + 1];
    if (!issuer || (of === "device" && i === 0)) return [];
    return [{ certificate, issuer, request: encodeOcspRequest({ certificate, issuer }) }];
  });
}
