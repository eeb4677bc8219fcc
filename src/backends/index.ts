/** Floor 3: clients of key services: the key file, PKCS#11 tokens, Vault and OpenBao, AWS KMS. */
export type { AccessTokens } from "./access-tokens.ts";
export { createKeyFile } from "./key-file/key-file.ts";
export * from "./key-wrapper.ts";
export { BACKEND_LIMITS } from "./limits.ts";
export { openKeyWrapper, openSigningKey } from "./open.ts";
export type { BackendPorts, CallLimits } from "./ports.ts";
export type { SigningBackend, SigningHash } from "./signing-backend.ts";
