/** Routes and messages of the key release: a challenge, then evidence and a fresh public key for a sealed package key. */
import { z } from "zod";
import { modelRef } from "./models.ts";
import { defineRoute } from "./route.ts";

/** Evidence of a processor with its logs and chains, in bytes. */
export const EVIDENCE_BYTES = 2 * 1024 * 1024;

/** Evidence of all devices of a machine, in bytes. */
export const DEVICE_EVIDENCE_BYTES = 1024 * 1024;

/** Largest release request, in bytes: both in base64, and what is around them. */
export const RELEASE_BODY_BYTES = inBase64(EVIDENCE_BYTES) + inBase64(DEVICE_EVIDENCE_BYTES) + 16 * 1024;

function inBase64(bytes: number): number {
  return Math.ceil((bytes * 4) / 3);
}

const nonce = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "32 bytes, base64url");
const base64Url = z.string().regex(/^[A-Za-z0-9_-]+$/, "base64url");

export const releaseRequest = z.strictObject({
  nonce,
  /** The P-256 point of the fresh HPKE key, uncompressed, base64url. */
  public_key: z.string().regex(/^[A-Za-z0-9_-]{87}$/, "65 bytes, base64url"),
  model: modelRef,
  evidence: z.strictObject({
    kind: z.string().regex(/^[a-z0-9-]{1,32}$/, "lower-case letters, digits and -"),
    data: base64Url.max(inBase64(EVIDENCE_BYTES)),
    /** Of the NVIDIA devices of the same machine; the evidence of the processor covers it (spec/key-release.md). */
    devices: base64Url.max(inBase64(DEVICE_EVIDENCE_BYTES)).optional(),
  }),
});

export type ReleaseRequest = z.output<typeof releaseRequest>;

export const releaseReply = z.object({
  package_id: z.string().max(256),
  /** The HPKE encapsulated key and the sealed package key, base64url. */
  enc: base64Url.max(256),
  ciphertext: base64Url.max(1024),
  /** The policies that granted it. */
  policies: z.array(z.string()),
});

export type ReleaseReply = z.output<typeof releaseReply>;

export const releaseChallenge = z.object({ nonce, expires_at: z.string() });

export const challengeRelease = defineRoute({
  id: "challengeRelease",
  method: "POST",
  path: "/api/v1/releases/challenge",
  about: "A nonce for one key release, bound to the caller; it lives for 60 seconds and works once.",
  auth: "token",
  body: z.strictObject({}),
  reply: releaseChallenge,
});

export const releaseKey = defineRoute({
  id: "releaseKey",
  method: "POST",
  path: "/api/v1/releases",
  about: "Releases the package key of a model to an environment that policy names, sealed to a key born inside it.",
  auth: "token",
  body: releaseRequest,
  reply: releaseReply,
  maxBodyBytes: RELEASE_BODY_BYTES,
});
