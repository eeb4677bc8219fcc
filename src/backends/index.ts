/** Floor 3: clients of key services: key file and passphrase, PKCS#11 tokens, Vault and OpenBao, AWS, Google, Azure. */
export type { AccessTokens } from "./access-tokens.ts";
export { openAzureBlob } from "./azure-blob/blob.ts";
export { openGoogleStorage } from "./google-storage/storage.ts";
export { createKeyFile } from "./key-file/key-file.ts";
export * from "./key-wrapper.ts";
export { BACKEND_LIMITS } from "./limits.ts";
export { storeError } from "./objects/errors.ts";
export { STORE_LIMITS, type StoreLimits } from "./objects/limits.ts";
export type { StorePorts } from "./objects/ports.ts";
export type { ObjectInfo, ObjectService, PutCondition } from "./objects/service.ts";
export { digestOf, OCI_INDEX, OCI_MANIFEST, openRegistry, type Registry } from "./oci/registry.ts";
export { BlobUpload } from "./oci/upload.ts";
export { openKeyWrapper, openSigningKey } from "./open.ts";
export type { BackendPorts, CallLimits, PassphraseSource } from "./ports.ts";
export { openS3 } from "./s3/s3.ts";
export type { SigningBackend, SigningHash } from "./signing-backend.ts";
