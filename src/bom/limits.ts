/** Limits of bills of materials and advisories. */
export const BOM_LIMITS = {
  lockfileBytes: 32 * 1024 * 1024,
  lockfileDepth: 64,
  /** Lockfiles in YAML, whose parser is slower. */
  yamlBytes: 8 * 1024 * 1024,
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
  /** Files of a data set that are named one by one. */
  datasetFiles: 10_000,
  /** Files and folders of an installation or an image that are looked at. */
  treeEntries: 4_000_000,
  treeDepth: 64,
  /** One package database, METADATA or RECORD. */
  databaseBytes: 64 * 1024 * 1024,
  /** What is kept of an image while its layers are read. */
  imageKeptBytes: 512 * 1024 * 1024,
  imageLayers: 512,
  /** Of an archive around the layers, which has three for each layer. */
  archiveMembers: 100_000,
  /** How far an archive that is packed as a whole may unpack beyond 256 MiB: that goes into a file. */
  archiveRatio: 20,
  /** Folders, links and files of programs and packages. */
  imageNodes: 2_000_000,
  /** All layers, unpacked. */
  imageUnpackedBytes: 256 * 1024 * 1024 * 1024,
  /** How far a layer may unpack beyond the first 256 MiB: deflate's own bound is 1032. */
  imageRatio: 200,
  imageManifestBytes: 8 * 1024 * 1024,
  /** Links that lead to links. */
  linkHops: 40,
  /** Rounds over the layers, to find what links lead to. */
  imageRounds: 4,
  /** Names and extended headers of a tar member. */
  tarHeaderBytes: 1024 * 1024,
  bomBytes: 64 * 1024 * 1024,
  bomDepth: 64,
  /** Components inside components. */
  bomNesting: 32,
  /** Statements of a VEX document, or waivers. */
  vexStatements: 50_000,
  /** Products, and weaknesses of products, that are looked at in the statements about the packages of one document. */
  vexLooks: 500_000,
  nameCharacters: 214,
  versionCharacters: 256,
  advisoryBytes: 16 * 1024 * 1024,
  /** In the arrays and objects of one record, all together. */
  advisoryValues: 1024 * 1024,
  advisoryRecords: 2_000_000,
  /** How far the members of one dump may unpack, in bytes, and beyond the first 256 MiB as a multiple of the archive. */
  dumpUnpackedBytes: 32 * 1024 * 1024 * 1024,
  dumpFreeBytes: 256 * 1024 * 1024,
  dumpRatio: 100,
  advisoryVersions: 100_000,
  advisoryEvents: 20_000,
  /** Packages of an index; each takes 32 bytes of its directory. */
  advisoryPackages: 4_000_000,
  /** All advisories of one package, in bytes. */
  packageBlockBytes: 128 * 1024 * 1024,
  /** Of the thread that builds the index, in MiB: what lives long, and what is new. */
  importHeapMib: 24,
  importYoungHeapMib: 2,
  /** A record beyond it, in bytes, has the index built again on a thread with more memory. */
  importUsualBytes: 1024 * 1024,
  importLargeHeapMib: 256,
  /** Packages whose advisories stay parsed. */
  cachedPackages: 2_000,
  /** KEV or EPSS, unpacked. */
  exploitationBytes: 64 * 1024 * 1024,
  exploitedWeaknesses: 2_000_000,
} as const;
