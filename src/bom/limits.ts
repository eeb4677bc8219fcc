/** Limits of bills of materials and advisories. */
export const BOM_LIMITS = {
  lockfileBytes: 32 * 1024 * 1024,
  lockfileDepth: 64,
  /** One requirement with its hashes. */
  requirementCharacters: 64 * 1024,
  /** Requirement files that include each other. */
  includedFiles: 64,
  components: 100_000,
  /** config.json and its kin, in bytes. */
  configBytes: 4 * 1024 * 1024,
  readmeBytes: 4 * 1024 * 1024,
  frontMatterBytes: 256 * 1024,
  /** Text of a README in which its first paragraph is looked for. */
  introductionCharacters: 64 * 1024,
  /** Items of a list in the front matter, and characters of one text. */
  frontMatterItems: 1_000,
  textCharacters: 2_000,
  bomBytes: 64 * 1024 * 1024,
  bomDepth: 64,
  /** Components inside components. */
  bomNesting: 32,
  nameCharacters: 214,
  versionCharacters: 256,
  advisoryBytes: 16 * 1024 * 1024,
  advisoryRecords: 2_000_000,
  advisoryVersions: 100_000,
  advisoryEvents: 20_000,
  /** Packages of an index; each takes 32 bytes of its directory. */
  advisoryPackages: 4_000_000,
  /** All advisories of one package, in bytes. */
  packageBlockBytes: 128 * 1024 * 1024,
  /** Packages whose advisories stay parsed. */
  cachedPackages: 2_000,
  /** KEV or EPSS, unpacked. */
  exploitationBytes: 64 * 1024 * 1024,
  exploitedWeaknesses: 2_000_000,
} as const;
