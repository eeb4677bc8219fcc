/** Routes and messages: the policy of the server. */
import { z } from "zod";
import { defineRoute } from "./route.ts";

/** Largest policy request, in bytes: 256 KiB of text, escaped. */
export const POLICY_BODY_BYTES = 640 * 1024;

export const currentPolicy = z.object({
  text: z.string(),
  /** 0 as long as the server has its default policy. */
  version: z.int().nonnegative(),
  /** SHA-256 of the text, hex. */
  digest: z.string(),
  set_by: z.string().optional(),
  set_at: z.string().optional(),
});

export type CurrentPolicy = z.output<typeof currentPolicy>;

export const getPolicy = defineRoute({
  id: "getPolicy",
  method: "GET",
  path: "/api/v1/policy",
  about: "The policy that decides now.",
  auth: "token",
  body: z.object({}),
  reply: currentPolicy,
});

export const setPolicy = defineRoute({
  id: "setPolicy",
  method: "PUT",
  path: "/api/v1/policy",
  about: "Replaces the policy on every replica, once it was checked.",
  auth: "token",
  body: z.strictObject({
    text: z.string().max(256 * 1024),
    /** The version that is replaced: a change by somebody else in between is not lost. */
    if_version: z.int().nonnegative().optional(),
    /** Needed for a policy under which the caller could not change the policy again. */
    allow_lockout: z.boolean().optional(),
  }),
  reply: currentPolicy,
  maxBodyBytes: POLICY_BODY_BYTES,
});
