/** Limits of DCAP quotes and their collateral. */
export const DCAP_LIMITS = {
  /** A quote with all that follows it, in bytes. */
  quoteBytes: 32 * 1024,
  /** What the quoting enclave authenticates besides its key, in bytes. */
  qeAuthDataBytes: 1024,
  /** The certificate chain inside a quote, in bytes. */
  certificationBytes: 16 * 1024,
  /** Certificates in one chain. */
  chainCertificates: 4,
  /** Certificates between a leaf and the root. */
  chainIntermediates: 2,
  /** Collateral in one JSON document, in bytes. */
  collateralBytes: 1024 * 1024,
  /** TCB info or an enclave identity, in bytes. */
  documentBytes: 256 * 1024,
  /** Nesting of these documents. */
  documentDepth: 8,
  /** A revocation list, in bytes. */
  crlBytes: 512 * 1024,
  /** Levels of TCB info, of a module or of an enclave identity. */
  tcbLevels: 128,
  /** Versions of the TDX module in TCB info. */
  moduleIdentities: 64,
  /** Advisories of one level. */
  advisories: 128,
  /** Documents, lists, chains and keys of each kind that are kept as they were read. */
  keptItems: 64,
  /** The largest of them, in bytes: whoever sends others makes nobody's memory full. */
  keptBytes: 64 * 1024,
  /** Collateral whose signatures a cache remembers. */
  cachedCollaterals: 64,
  /** How far an issue date may lie in the future, in seconds. */
  clockSkewSeconds: 300,
  /** Evidence as JSON with its event logs, in bytes. */
  evidenceBytes: 4 * 1024 * 1024,
} as const;
