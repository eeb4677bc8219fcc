/** Routes and messages: secrets and leases. Values travel sealed (HPKE), so that no JSON ever holds one. */
import { z } from "zod";
import { defineRoute } from "./route.ts";

const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/, "base64url without padding");

/** HPKE DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; info is `modelkeep secret put v1\nNAME`. */
export const sealedValue = z.object({
  key_id: z.string().regex(/^[0-9a-f]{32}$/),
  enc: base64url.max(200),
  ciphertext: base64url.max(32 * 1024),
});

export const secretInfo = z.object({
  name: z.string(),
  about: z.string(),
  version: z.int(),
  versions: z.array(z.object({ version: z.int(), created_at: z.string() })),
  created_at: z.string(),
  updated_at: z.string(),
});

export const leaseInfo = z.object({
  id: z.string(),
  secret: z.string(),
  version: z.int(),
  holder: z.string(),
  issued_at: z.string(),
  expires_at: z.string(),
});

const empty = z.object({});

export const getTransportKey = defineRoute({
  id: "getTransportKey",
  method: "GET",
  path: "/api/v1/transport-key",
  about: "The public key that values for this server are sealed to.",
  auth: "none",
  body: empty,
  reply: z.object({ key_id: z.string(), public_key: z.string() }),
});

export const putSecret = defineRoute({
  id: "putSecret",
  method: "PUT",
  path: "/api/v1/secrets/{name}",
  about: "Makes a secret, or gives it one more version.",
  auth: "token",
  body: z.object({ about: z.string().max(500).optional(), sealed: sealedValue }),
  reply: secretInfo,
});

export const rotateSecret = defineRoute({
  id: "rotateSecret",
  method: "POST",
  path: "/api/v1/secrets/{name}/rotate",
  about: "Gives a secret that exists one more version; the next use takes it.",
  auth: "token",
  body: z.object({ sealed: sealedValue }),
  reply: secretInfo,
});

export const listSecrets = defineRoute({
  id: "listSecrets",
  method: "GET",
  path: "/api/v1/secrets",
  about: "Names and versions of the secrets; never a value.",
  auth: "token",
  body: empty,
  reply: z.object({ secrets: z.array(secretInfo) }),
});

export const deleteSecret = defineRoute({
  id: "deleteSecret",
  method: "DELETE",
  path: "/api/v1/secrets/{name}",
  about: "Deletes a secret with all its versions and ends its leases.",
  auth: "token",
  body: empty,
  reply: z.object({ deleted: z.string() }),
});

export const checkoutSecret = defineRoute({
  id: "checkoutSecret",
  method: "POST",
  path: "/api/v1/secrets/{name}/checkout",
  about:
    "Leases a secret; its value comes back sealed to the caller's key (info `modelkeep secret checkout v1\\nNAME`).",
  auth: "token",
  body: z.object({
    key_id: z.string().regex(/^[0-9a-f]{32}$/),
    public_key: base64url.length(87),
    ttl_seconds: z.int().min(1).max(3600).optional(),
  }),
  reply: z.object({ lease: leaseInfo, sealed: sealedValue }),
});

export const listLeases = defineRoute({
  id: "listLeases",
  method: "GET",
  path: "/api/v1/leases",
  about: "The open leases, on every replica.",
  auth: "token",
  body: empty,
  reply: z.object({ leases: z.array(leaseInfo) }),
});

export const checkInLease = defineRoute({
  id: "checkInLease",
  method: "POST",
  path: "/api/v1/leases/{id}/checkin",
  about: "Ends a lease of the caller.",
  auth: "token",
  body: empty,
  reply: z.object({ ended: z.string() }),
});

export const revokeLease = defineRoute({
  id: "revokeLease",
  method: "DELETE",
  path: "/api/v1/leases/{id}",
  about: "Ends anybody's lease at once, on whichever replica its key is held.",
  auth: "token",
  body: empty,
  reply: z.object({ ended: z.string() }),
});
