/** Routes of advisories: which published models a weakness is known against, and who accepts it for a while. */
import { z } from "zod";
import { modelRef } from "./models.ts";
import { defineRoute } from "./route.ts";

export const affectedWeakness = z.object({
  id: z.string(),
  aliases: z.array(z.string()),
  severity: z.enum(["unknown", "low", "medium", "high", "critical"]),
  malware: z.boolean(),
  /** In CISA's catalogue of known exploited vulnerabilities. */
  kev: z.boolean(),
  /** Package URLs that have it. */
  packages: z.array(z.string()),
  /** `name@version` of the models whose bill of materials names one of them, and that nobody spoke for. */
  models: z.array(z.string()),
  /** Those of them that a host lately said it had loaded. */
  running: z.array(z.string()),
  /** Models that have a package, and whose publisher says, with a reason, that it does them no harm or is fixed. */
  not_affected: z.array(z.string()),
  /** Models that have a package, and for which somebody accepted it until a day to come. */
  waived: z.array(z.string()),
});

export type AffectedWeakness = z.output<typeof affectedWeakness>;

export const listAffected = defineRoute({
  id: "listAffected",
  method: "GET",
  path: "/api/v1/advisories/affected",
  about: "What is known against the published models now, by weakness; the worst first.",
  auth: "token",
  body: z.object({}),
  reply: z.object({
    /** Absent when the server has no advisories, or has not matched yet. */
    matched_at: z.string().optional(),
    weaknesses: z.array(affectedWeakness),
  }),
});

export const newWaiver = z.strictObject({
  /** CVE, GHSA or another id of the weakness. */
  weakness: z.string().regex(/^[A-Za-z0-9][\w.:-]{2,127}$/, "an id such as CVE-2026-1234"),
  /** Package URL; without a version every version; absent: every package. */
  package: z.string().startsWith("pkg:").max(1000).optional(),
  /** `name@version`; absent: every model. */
  model: modelRef.optional(),
  /** Who answers for it. */
  owner: z.string().trim().min(1).max(200),
  reason: z.string().trim().min(1).max(2000),
  /** The last day it holds, in UTC. */
  expires: z.iso.date(),
});

export type NewWaiver = z.output<typeof newWaiver>;

export const waiver = newWaiver.extend({
  id: z.string(),
  set_by: z.string(),
  set_at: z.string(),
  /** Its last day is over: it counts for nothing. */
  expired: z.boolean(),
});

export type StandingWaiver = z.output<typeof waiver>;

export const listWaivers = defineRoute({
  id: "listWaivers",
  method: "GET",
  path: "/api/v1/advisories/waivers",
  about: "The weaknesses that somebody accepted, with owner, reason and last day; also those whose day is over.",
  auth: "token",
  body: z.object({}),
  reply: z.object({ waivers: z.array(waiver) }),
});

export const addWaiver = defineRoute({
  id: "addWaiver",
  method: "POST",
  path: "/api/v1/advisories/waivers",
  about: "Accepts a weakness until a day; policy is asked (waiveWeakness). Malware cannot be accepted.",
  auth: "token",
  body: newWaiver,
  reply: waiver,
});

export const removeWaiver = defineRoute({
  id: "removeWaiver",
  method: "DELETE",
  path: "/api/v1/advisories/waivers/{id}",
  about: "Takes a waiver back: the weakness counts again, and is told of again.",
  auth: "token",
  body: z.object({}),
  reply: z.object({ removed: z.literal(true) }),
});
