/** Floor 3: clients of key services; today the key file. */
export { createKeyFile } from "./key-file.ts";
export * from "./key-wrapper.ts";
export { BACKEND_LIMITS } from "./limits.ts";
export { openKeyWrapper } from "./open.ts";
