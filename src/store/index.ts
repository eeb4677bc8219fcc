/** Floor 3: records behind a barrier, in SQLite or PostgreSQL. */
export * from "./errors.ts";
export * from "./limits.ts";
export { openStore, type StoreOptions } from "./open.ts";
export { openRootKey } from "./root-key.ts";
export * from "./store.ts";
