/** Routes and messages: the providers behind the gateway. */
import { z } from "zod";
import { defineRoute } from "./route.ts";

export const providerBody = z.object({
  kind: z.literal("openai").default("openai"),
  /** https anywhere but link-local and metadata addresses; http on loopback only. */
  base_url: z.string().max(500),
  /** Name of the secret with the provider's key. */
  secret: z.string().max(100),
  models: z.array(z.string().max(200)).min(1).max(500),
});

export const providerInfo = z.object({
  name: z.string(),
  kind: z.literal("openai"),
  base_url: z.string(),
  secret: z.string(),
  models: z.array(z.string()),
  created_at: z.string(),
  updated_at: z.string(),
});

export const setProvider = defineRoute({
  id: "setProvider",
  method: "PUT",
  path: "/api/v1/providers/{name}",
  about: "Makes or changes a provider.",
  auth: "token",
  body: providerBody,
  reply: providerInfo,
});

export const listProviders = defineRoute({
  id: "listProviders",
  method: "GET",
  path: "/api/v1/providers",
  about: "The providers and their models.",
  auth: "token",
  body: z.object({}),
  reply: z.object({ providers: z.array(providerInfo) }),
});

export const deleteProvider = defineRoute({
  id: "deleteProvider",
  method: "DELETE",
  path: "/api/v1/providers/{name}",
  about: "Deletes a provider; its secret stays.",
  auth: "token",
  body: z.object({}),
  reply: z.object({ deleted: z.string() }),
});
