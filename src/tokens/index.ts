/** Floor 5: tokens. The server's half is the service; the client's half makes keys, proofs and renewals. */
export * from "./client.ts";
export * from "./errors.ts";
export { GRANT_TYPE, TOKEN_TYPES } from "./grant.ts";
export * from "./limits.ts";
export { isPrincipalName } from "./names.ts";
export * from "./proof-key.ts";
export * from "./service.ts";
export * from "./session.ts";
export * from "./tokens.ts";
