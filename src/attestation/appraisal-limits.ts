/** Limits of appraisal profiles and of what is read for one appraisal. */
export const APPRAISAL_LIMITS = {
  /** An appraisal profile, in bytes. */
  profileBytes: 256 * 1024,
  /** Problems of a profile that one error names. */
  profileProblems: 16,
  /** How long a statement of reference values is good at most, in days. */
  referenceLifeDays: 1100,
  /** How far the date of one may lie in the future, in milliseconds. */
  referenceSkewMs: 300_000,
  /** Statements of reference values of one profile. */
  references: 64,
  /** Evidence in a file, with logs and collateral in it, in bytes. */
  evidenceBytes: 4 * 1024 * 1024,
  /** Nesting of evidence as JSON. */
  evidenceDepth: 16,
} as const;
