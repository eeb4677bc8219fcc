/** Every HTTP route and message, once; and the typed client that a browser can run too. */
export * from "./admin.ts";
export * from "./advisories.ts";
export * from "./attestation.ts";
export * from "./audit.ts";
export * from "./client.ts";
export * from "./identity.ts";
export * from "./models.ts";
export * from "./openapi.ts";
export * from "./policy.ts";
export * from "./providers.ts";
export * from "./release.ts";
export * from "./route.ts";
export * from "./secrets.ts";
export * from "./tokens.ts";
