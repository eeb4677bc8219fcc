/** Floor 5: OMS signatures and sibling statements. */
export { makeBundle, type Trust, trustKeys, type VerifiedManifest, verifyBundle } from "./bundle.ts";
export { signingError } from "./errors.ts";
export { readSigningKey } from "./key-file.ts";
export { loadEcSigner, loadTrustedKey, type ModelSigner, type TrustedKey } from "./keys.ts";
export { SIGNING_LIMITS } from "./limits.ts";
export type { Manifest, Resource, Serialization } from "./manifest.ts";
export { type SignedModel, type SignOptions, signModel } from "./sign.ts";
export { type StatementInput, signStatement, type VerifiedStatement, verifyStatement } from "./statement.ts";
export { type VerifyFinding, type VerifyOptions, type VerifyReport, verifyModel } from "./verify.ts";
