/** Floor 1: what everything stands on and what stands on nothing. */
export * from "./bytes.ts";
export * from "./errors.ts";
export * from "./json.ts";
export * from "./limits.ts";
export * from "./ports.ts";
