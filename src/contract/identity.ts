/** Routes and messages: the server as an identity provider (OpenID Connect Discovery 1.0), for federation with others. */
import { z } from "zod";
import { earKeys } from "./attestation.ts";
import { defineRoute } from "./route.ts";

const rsaKey = z.object({
  kty: z.literal("RSA"),
  n: z.string(),
  e: z.string(),
  alg: z.literal("RS256"),
  use: z.literal("sig"),
  kid: z.string(),
});

/** Of both algorithms; of each the key in use comes first. */
const identityKeys = z.object({ keys: z.array(z.union([earKeys.shape.keys.element, rsaKey])) });

export const getIdentityProvider = defineRoute({
  id: "getIdentityProvider",
  method: "GET",
  path: "/.well-known/openid-configuration",
  about: "What other services need to check the tokens by which this server logs in there.",
  auth: "none",
  body: z.object({}),
  reply: z.object({
    issuer: z.string(),
    jwks_uri: z.string(),
    response_types_supported: z.array(z.string()),
    subject_types_supported: z.array(z.string()),
    id_token_signing_alg_values_supported: z.array(z.string()),
    claims_supported: z.array(z.string()),
  }),
});

export const getIdentityKeys = defineRoute({
  id: "getIdentityKeys",
  method: "GET",
  path: "/.well-known/jwks.json",
  about: "The key set of these tokens; a key stays in it until its last token has ended.",
  auth: "none",
  body: z.object({}),
  reply: identityKeys,
});

export const rotateIdentityKey = defineRoute({
  id: "rotateIdentityKey",
  method: "POST",
  path: "/api/v1/identity/keys",
  about: "Takes other keys for these tokens into use, one of each algorithm.",
  auth: "token",
  body: z.object({}),
  reply: identityKeys,
});
