/** Routes and messages: enrolment, tokens, revocation. The exchange itself is RFC 8693 at `POST /oauth/token`. */
import { z } from "zod";
import { defineRoute } from "./route.ts";

const principal = z.object({ type: z.enum(["Workload", "Admin"]), id: z.string().min(1).max(200) });

const tokenInfo = z.object({
  id: z.string(),
  principal,
  groups: z.array(z.string()),
  issued_at: z.string(),
  expires_at: z.string(),
  key_thumbprint: z.string(),
});

export const issueEnrolment = defineRoute({
  id: "issueEnrolment",
  method: "POST",
  path: "/api/v1/enrolments",
  about: "Makes a one-time code by which a workload, or an administrator, enrols its key.",
  auth: "token",
  body: z.strictObject({
    workload: z.string().min(1).max(200),
    groups: z.array(z.string().min(1).max(64)).max(16).optional(),
    ttl_seconds: z.int().min(1).max(86_400).optional(),
    admin: z.boolean().optional(),
  }),
  reply: z.object({ code: z.string(), expires_at: z.string(), workload: z.string() }),
});

export const listTokens = defineRoute({
  id: "listTokens",
  method: "GET",
  path: "/api/v1/tokens",
  about: "The live tokens: whose they are and when they end; never a token itself.",
  auth: "token",
  body: z.object({}),
  reply: z.object({ tokens: z.array(tokenInfo) }),
});

export const revokeToken = defineRoute({
  id: "revokeToken",
  method: "POST",
  path: "/api/v1/tokens/revoke",
  about:
    "Ends a token with the key it is bound to, or everything that a principal has, and the leases that were taken with it; " +
    "within a second everywhere.",
  auth: "token",
  body: z.union([z.strictObject({ token: z.string().max(100) }), z.strictObject({ principal })]),
  reply: z.object({ principal, codes: z.int(), keys: z.int(), tokens: z.int(), leases: z.int() }),
});

export const whoAmI = defineRoute({
  id: "whoAmI",
  method: "GET",
  path: "/api/v1/whoami",
  about: "Whom the server takes the caller for.",
  auth: "token",
  body: z.object({}),
  reply: z.object({
    principal: z.object({ type: z.string(), id: z.string() }),
    groups: z.array(z.string()),
    token: z.string(),
    expires_at: z.string(),
    key_thumbprint: z.string(),
  }),
});
