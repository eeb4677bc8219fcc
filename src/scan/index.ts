/** Unsafe model files: what loading them would do, found by reading only. */
export { scanError } from "./errors.ts";
export { SCAN_LIMITS } from "./limits.ts";
export * from "./scan.ts";
export * from "./verdict.ts";
