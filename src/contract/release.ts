/** Routes and messages of the key release: a challenge, then evidence and a fresh public key for a sealed package key. */
import { z } from "zod";
import { modelRef } from "./models.ts";
import { defineRoute } from "./route.ts";

/** Largest release request, in bytes: evidence with its certificate chains, in base64. */
export const RELEASE_BODY_BYTES = 512 * 1024;

const nonce = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "32 bytes, base64url");
const base64Url = z.string().regex(/^[A-Za-z0-9_-]+$/, "base64url");

export const releaseRequest = z.strictObject({
  nonce,
  /** The P-256 point of the fresh HPKE key, uncompressed, base64url. */
  public_key: z.string().regex(/^[A-Za-z0-9_-]{87}$/, "65 bytes, base64url"),
  model: modelRef,
  evidence: z.strictObject({
    kind: z.string().regex(/^[a-z0-9-]{1,32}$/, "lower-case letters, digits and -"),
    data: base64Url.max(384 * 1024),
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
