/** Routes of advisories: which published models a weakness is known against. */
import { z } from "zod";
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
  /** `name@version` of the models whose bill of materials names one of them. */
  models: z.array(z.string()),
  /** Those of them that a host lately said it had loaded. */
  running: z.array(z.string()),
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
