/** Routes and messages of attestation as a service: evidence in, a signed result out; and the keys that verify it. */
import { z } from "zod";
import { DEVICE_EVIDENCE_BYTES, EVIDENCE_BYTES, RELEASE_BODY_BYTES } from "./release.ts";
import { defineRoute } from "./route.ts";

const base64Url = (bytes: number) =>
  z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/, "base64url")
    .max(Math.ceil((bytes * 4) / 3));
const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`), `${bytes} bytes in hex`);

export const appraiseRequest = z.strictObject({
  kind: z.enum(["snp", "tdx", "sgx", "nvidia"]),
  evidence: base64Url(EVIDENCE_BYTES),
  /** Of the NVIDIA devices of the same machine. */
  devices: base64Url(DEVICE_EVIDENCE_BYTES).optional(),
  /** What the processor must have signed; without it nothing ties the evidence to whoever sends it. */
  report_data: hex(64).optional(),
  /** What each device must have signed. */
  device_nonce: hex(32).optional(),
  /** Which reader the token is for. */
  ear_profile: z.enum(["veraison", "trustee"]).optional(),
  /** How long the token is valid. */
  life_seconds: z
    .int()
    .min(1)
    .max(24 * 3_600)
    .optional(),
});

export const appraisedRule = z.object({
  id: z.string(),
  result: z.enum(["passed", "failed", "unchecked"]),
  have: z.string().optional(),
  need: z.string().optional(),
  message: z.string(),
});

export const appraiseReply = z.object({
  verdict: z.enum(["accepted", "refused"]),
  tcb_status: z.string().optional(),
  advisories: z.array(z.string()),
  rules: z.array(appraisedRule),
  /** The result as a token: EAR in a JWT under ES256; `eat_nonce` is the report data. */
  ear: z.string(),
});

export type AppraiseReply = z.output<typeof appraiseReply>;

/** A key set (RFC 7517): the key in use first. */
export const earKeys = z.object({
  keys: z.array(
    z.object({
      kty: z.literal("EC"),
      crv: z.literal("P-256"),
      x: z.string(),
      y: z.string(),
      alg: z.literal("ES256"),
      use: z.literal("sig"),
      kid: z.string(),
    }),
  ),
});

export const appraiseEvidence = defineRoute({
  id: "appraiseEvidence",
  method: "POST",
  path: "/api/v1/attestations",
  about: "Judges evidence under the server's profile; the result is a signed token, for a refusal too.",
  auth: "token",
  body: appraiseRequest,
  reply: appraiseReply,
  maxBodyBytes: RELEASE_BODY_BYTES,
});

export const getEarKeys = defineRoute({
  id: "getEarKeys",
  method: "GET",
  path: "/api/v1/attestations/keys",
  about: "The key set that verifies attestation results; a key stays in it until its last token has ended.",
  auth: "none",
  body: z.object({}),
  reply: earKeys,
});

export const rotateEarKey = defineRoute({
  id: "rotateEarKey",
  method: "POST",
  path: "/api/v1/attestations/keys",
  about: "Takes another key for attestation results into use; tokens under the old one stay valid until they end.",
  auth: "token",
  body: z.strictObject({}),
  reply: earKeys,
});
