/** Floor 5: the log that nobody rewrites unnoticed. */
export type {
  AuditLog,
  AuditPage,
  AuditPorts,
  AuditQuery,
  ConsistencyProof,
  InclusionProof,
  LeafPage,
  SignedCheckpoint,
} from "./audit.ts";
export { type Checkpoint, parseCheckpoint, type VerifiedCheckpoint, verifyCheckpoint } from "./checkpoint.ts";
export { type AuditEntry, parseLeaf } from "./entry.ts";
export { auditError } from "./errors.ts";
export { type ExportSource, exportLog } from "./export.ts";
export { AUDIT_LIMITS } from "./limits.ts";
export { splitLines } from "./lines.ts";
export { openAuditLog } from "./log.ts";
export { hashLeaf } from "./merkle.ts";
export { parseNote, parseVerifierKey, type VerifierKey, verifyNote } from "./note.ts";
export { type ConsistencyClaim, type InclusionClaim, verifyConsistency, verifyInclusion } from "./proofs.ts";
export { type AuditRule, type AuditVerdict, type VerifyAuditOptions, verifyExport } from "./verify.ts";
