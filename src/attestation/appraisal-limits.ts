/** Limits of appraisal profiles and of what is read for one appraisal. */
export const APPRAISAL_LIMITS = {
  /** An appraisal profile, in bytes. */
  profileBytes: 256 * 1024,
  /** Problems of a profile that one error names. */
  profileProblems: 16,
  /** Evidence in a file, with logs and collateral in it, in bytes. */
  evidenceBytes: 4 * 1024 * 1024,
  /** Nesting of evidence as JSON. */
  evidenceDepth: 16,
} as const;
