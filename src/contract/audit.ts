/** Routes and messages: the audit log. */
import { z } from "zod";
import { defineRoute } from "./route.ts";

/** An index or a size in a query. */
const count = z
  .string()
  .regex(/^(0|[1-9][0-9]{0,14})$/, "a whole number")
  .transform(Number);
const hashes = z.array(z.string().max(64)).max(128);

const auditEntry = z.object({
  index: z.int().nonnegative(),
  at: z.string(),
  action: z.string(),
  outcome: z.enum(["allowed", "refused", "failed"]),
  principal: z.string(),
  resource: z.string(),
  model_root: z.string().optional(),
  reason: z.array(z.string()).optional(),
  data: z.record(z.string(), z.unknown()).optional(),
});

export type WireAuditEntry = z.output<typeof auditEntry>;

export const listAudit = defineRoute({
  id: "listAudit",
  method: "GET",
  path: "/api/v1/audit",
  about: "Entries of the audit log, newest first; a page may hold none and still have a next one.",
  auth: "token",
  body: z.object({
    action: z.string().max(200).optional(),
    outcome: z.enum(["allowed", "refused", "failed"]).optional(),
    principal: z.string().max(600).optional(),
    /** `name@version`, or the hex root digest of a model. */
    model: z.string().max(600).optional(),
    limit: count.optional(),
    /** Only entries with a smaller index. */
    before: count.optional(),
  }),
  reply: z.object({ entries: z.array(auditEntry), next: z.int().nonnegative().optional() }),
});

export const getAuditCheckpoint = defineRoute({
  id: "getAuditCheckpoint",
  method: "GET",
  path: "/api/v1/audit/checkpoint",
  about: "The newest signed checkpoint (C2SP tlog-checkpoint), and the key that signed it.",
  auth: "token",
  body: z.object({}),
  reply: z.object({
    checkpoint: z.string(),
    /** C2SP vkey: name+hash+base64. */
    key: z.string(),
    size: z.int().nonnegative(),
  }),
});

export const exportAudit = defineRoute({
  id: "exportAudit",
  method: "GET",
  path: "/api/v1/audit/leaves",
  about: "Leaves of the log as they are hashed, from `start` to `end`, exclusive; one page.",
  auth: "token",
  body: z.object({ start: count, end: count }),
  reply: z.object({ leaves: z.array(z.string()), next: z.int().nonnegative().optional() }),
});

export const proveAuditInclusion = defineRoute({
  id: "proveAuditInclusion",
  method: "GET",
  path: "/api/v1/audit/proofs/inclusion",
  about: "Proof that an entry is in the log of a size (RFC 9162, section 2.1.3).",
  auth: "token",
  body: z.object({ index: count, size: count.optional() }),
  reply: z.object({ index: z.int(), size: z.int(), leaf: z.string(), hashes }),
});

export const proveAuditConsistency = defineRoute({
  id: "proveAuditConsistency",
  method: "GET",
  path: "/api/v1/audit/proofs/consistency",
  about: "Proof that the log of one size grew out of that of another (RFC 9162, section 2.1.4).",
  auth: "token",
  body: z.object({ from: count, to: count.optional() }),
  reply: z.object({ from: z.int(), to: z.int(), hashes }),
});
