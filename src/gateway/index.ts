/** Floor 7: the OpenAI-compatible gateway and its providers. */
export type { LookupFunction } from "./address-guard.ts";
export type { Counter } from "./counters.ts";
export * from "./errors.ts";
export * from "./gateway.ts";
export { PrincipalLimiter } from "./limiter.ts";
export * from "./limits.ts";
export * from "./providers.ts";
