/** Floor 5: OMS signatures and sibling statements. */
export {
  type AttachedReport,
  checkStatements,
  makeStatement,
  type NamedBytes,
  readSignedRoot,
  type StatementFinding,
} from "./attach.ts";
export {
  listSiblings,
  readSignatureSet,
  readStoredSignatureSet,
  type SignatureSet,
  siblingFolder,
} from "./attach-place.ts";
export { ATTACHABLE_TYPES, STATEMENT_KINDS, STATEMENT_TYPE_NAMES, type StatementType } from "./attach-types.ts";
export { makeBundle, openBundle, type VerifiedManifest, verifyBundle } from "./bundle.ts";
export { signingError } from "./errors.ts";
export { readSigningKey } from "./key-file.ts";
export { type KeyReferencePorts, openSigner } from "./key-reference.ts";
export { type KeylessEndpoints, readSigningConfig } from "./keyless-sign/endpoints.ts";
export { openKeylessSigner } from "./keyless-sign/open.ts";
export type { KeylessModelSigner, KeylessOptions } from "./keyless-sign/sign.ts";
export { loadEcSigner, loadTrustedKey, type ModelSigner, type TrustedKey } from "./keys.ts";
export { SIGNING_LIMITS } from "./limits.ts";
export { filesDigestOf, type HashType, type Manifest, type Resource, type Serialization } from "./manifest.ts";
export { type CertificateFiles, withCertificates } from "./methods/certificate.ts";
export { judgeByPolicy, type PolicyFinding, type PolicyQuestion, type PolicyVerdict, requirePolicy } from "./policy.ts";
export { readSignerPolicy, rereadSignerPolicy, type SignerPolicy } from "./policy-file.ts";
export { makeProvenance } from "./provenance.ts";
export { type SignedModel, type SignOptions, signModel } from "./sign.ts";
export type { SignedPayload, SignerIdentity } from "./signer.ts";
export { type StatementInput, signStatement, type VerifiedStatement, verifyStatement } from "./statement.ts";
export { type TimestampOptions, withTimestamps } from "./timestamps/stamp.ts";
export type { TrustedTime } from "./timestamps/verify.ts";
export {
  type AuthorityInput,
  type AuthorityTrust,
  type IdentityTrust,
  pinKeys,
  type RevocationTrust,
  readRevocationLists,
  type TimestampTrust,
  type Trust,
  type TrustedIdentity,
  trustAuthorities,
  trustIdentities,
  trustKeys,
  trustTimestamps,
} from "./trust.ts";
export { type VerifyFinding, type VerifyOptions, type VerifyReport, verifyModel } from "./verify.ts";
