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

/** What every lease of a secret must keep to, beside policy. */
export const leaseRules = z.strictObject({
  /** A longer lease is shortened to it. */
  max_ttl_seconds: z.int().min(1).max(3600).optional(),
  /** How often the value may be taken out under one lease. */
  max_uses: z.int().min(1).max(1_000_000).optional(),
  /** Leases that may be open at once. */
  max_leases: z.int().min(1).max(10_000).optional(),
  purpose_required: z.boolean().optional(),
  /** Every lease has one of its own at the keeper of the secret. */
  unshared: z.boolean().optional(),
});

const name = z.string().min(1).max(100);
const about = z.string().max(500);
const purpose = z.string().min(1).max(200);
const graceSeconds = z
  .int()
  .min(0)
  .max(7 * 86_400);
const ttlSeconds = z.int().min(1).max(3600);

export const secretInfo = z.object({
  name: z.string(),
  about: z.string(),
  version: z.int(),
  /** A version that is being tried. */
  candidate: z.int().optional(),
  /** When the version before the current one is dropped. */
  grace_until: z.string().optional(),
  versions: z.array(z.object({ version: z.int(), created_at: z.string(), driver: z.string() })),
  rules: leaseRules,
  created_at: z.string(),
  updated_at: z.string(),
});

export const leaseInfo = z.object({
  id: z.string(),
  secret: z.string(),
  version: z.int(),
  holder: z.string(),
  purpose: z.string().optional(),
  uses: z.int(),
  max_uses: z.int().optional(),
  renewals: z.int(),
  issued_at: z.string(),
  expires_at: z.string(),
});

const empty = z.object({});

/** The caller's key, which values are sealed to. */
const receiver = { key_id: z.string().regex(/^[0-9a-f]{32}$/), public_key: base64url.length(87) };

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
  body: z.object({ about: about.optional(), rules: leaseRules.optional(), sealed: sealedValue }),
  reply: secretInfo,
});

export const linkSecret = defineRoute({
  id: "linkSecret",
  method: "PUT",
  path: "/api/v1/secrets/{name}/link",
  about: "Makes a secret, or gives it one more version, whose value stays with another keeper of secrets.",
  auth: "token",
  body: z.object({
    driver: z.string().min(1).max(50),
    reference: z.string().min(1).max(1000),
    about: about.optional(),
    rules: leaseRules.optional(),
  }),
  reply: secretInfo,
});

export const setSecretRules = defineRoute({
  id: "setSecretRules",
  method: "PUT",
  path: "/api/v1/secrets/{name}/rules",
  about: "What leases of the secret must keep to from now on; what is not named has no rule.",
  auth: "token",
  body: leaseRules,
  reply: secretInfo,
});

export const rotateSecret = defineRoute({
  id: "rotateSecret",
  method: "POST",
  path: "/api/v1/secrets/{name}/rotate",
  about:
    "Gives a secret that exists one more version; the next use takes it. With `canary` every provider that has the " +
    "secret is called with it first, and nothing changes when one refuses it; with `stage` it waits for `promote`.",
  auth: "token",
  body: z.object({
    sealed: sealedValue,
    grace_seconds: graceSeconds.optional(),
    canary: z.boolean().optional(),
    stage: z.boolean().optional(),
  }),
  reply: secretInfo,
});

export const promoteSecret = defineRoute({
  id: "promoteSecret",
  method: "POST",
  path: "/api/v1/secrets/{name}/promote",
  about:
    "Makes the version that is being tried the current one, after a call to every provider if `canary` asks for it.",
  auth: "token",
  body: z.object({ grace_seconds: graceSeconds.optional(), canary: z.boolean().optional() }),
  reply: secretInfo,
});

export const rollBackSecret = defineRoute({
  id: "rollBackSecret",
  method: "POST",
  path: "/api/v1/secrets/{name}/rollback",
  about: "Drops the version that is being tried, or the current one for the one before it, and ends its leases.",
  auth: "token",
  body: empty,
  reply: secretInfo,
});

export const retireSecret = defineRoute({
  id: "retireSecret",
  method: "POST",
  path: "/api/v1/secrets/{name}/retire",
  about: "Drops the versions before the current one now, and ends their leases.",
  auth: "token",
  body: empty,
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
    ...receiver,
    ttl_seconds: ttlSeconds.optional(),
    purpose: purpose.optional(),
    max_uses: z.int().min(1).max(1_000_000).optional(),
  }),
  reply: z.object({ lease: leaseInfo, sealed: sealedValue }),
});

export const useLease = defineRoute({
  id: "useLease",
  method: "POST",
  path: "/api/v1/leases/{id}/value",
  about: "Takes the value out once more under a lease of the caller, sealed as by `checkout`.",
  auth: "token",
  body: z.object(receiver),
  reply: z.object({ lease: leaseInfo, sealed: sealedValue }),
});

export const renewLease = defineRoute({
  id: "renewLease",
  method: "POST",
  path: "/api/v1/leases/{id}/renew",
  about: "Lets a lease of the caller last that long from now on, at most a day in all.",
  auth: "token",
  body: z.object({ ttl_seconds: ttlSeconds.optional() }),
  reply: leaseInfo,
});

export const revokeLeases = defineRoute({
  id: "revokeLeases",
  method: "POST",
  path: "/api/v1/leases/revoke",
  about: "Ends every lease of a principal, of a secret, or of the secrets whose names begin alike.",
  auth: "token",
  body: z.union([
    z.strictObject({ principal: z.object({ type: z.enum(["Workload", "Admin", "Server"]), id: z.string().max(256) }) }),
    z.strictObject({ secret: name }),
    z.strictObject({ prefix: name }),
  ]),
  reply: z.object({ ended: z.array(z.string()) }),
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
