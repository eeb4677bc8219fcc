/** Routes about the server itself. */
import { z } from "zod";
import { defineRoute } from "./route.ts";

export const serverInfo = defineRoute({
  id: "serverInfo",
  method: "GET",
  path: "/api/v1/server",
  about: "What this server is and how it protects what it holds.",
  auth: "token",
  body: z.object({}),
  reply: z.object({
    version: z.string(),
    node: z.string(),
    store: z.string(),
    guarded_memory: z.string(),
    attestation: z.array(z.string()),
    insecure: z.array(z.string()),
  }),
});
