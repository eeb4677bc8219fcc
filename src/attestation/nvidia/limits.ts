/** Limits of NVIDIA evidence, reference manifests and tokens. */
export const NVIDIA_LIMITS = {
  /** GPUs and switches in one piece of evidence: a machine has at most eight GPUs and four switches today. */
  devices: 32,
  /** One SPDM request and response, in bytes; recorded ones have at most 4300. */
  reportBytes: 16 * 1024,
  /** Bytes behind the signature that some collectors add; they are not signed and not read. */
  trailingBytes: 16,
  /** Fields of the opaque data. */
  opaqueFields: 64,
  /** One text of the opaque data, in bytes. */
  opaqueTextBytes: 64,
  /** The PEM chain of one device, in bytes. */
  chainBytes: 32 * 1024,
  /** Certificates in a device chain or a manifest; NVIDIA sends five and four. */
  chainCertificates: 8,
  /** One reference manifest, in bytes; issued ones have at most 26 KiB. */
  rimBytes: 256 * 1024,
  /** Reference manifests for one appraisal: a server has those of all its machines. */
  rims: 256,
  /** Measurements in a manifest. */
  rimMeasurements: 256,
  /** Values that one measurement may have. */
  rimAlternatives: 32,
  /** Verified manifests that a cache keeps. */
  cachedRims: 512,
  /** Verified chains that a cache keeps: one for each device and signer. */
  cachedPaths: 1024,
  /** OCSP responses for one appraisal: a server has those about all its machines. */
  ocspResponses: 512,
  /** One OCSP response, in bytes. */
  ocspBytes: 16 * 1024,
  /** The answer of the remote attestation service, in bytes. */
  nrasBytes: 256 * 1024,
  /** One token of it, in bytes. */
  nrasTokenBytes: 32 * 1024,
  /** Keys of the service. */
  nrasKeys: 32,
  /** How long a key of the service may live, in milliseconds: 48 hours and the minute by which it is dated back. */
  nrasKeyLifeMs: (48 * 60 + 1) * 60_000,
  /** How long one token may be valid, in milliseconds; the service says one hour. */
  nrasTokenLifeMs: 24 * 3_600_000,
  /** By how much the clock of the service may be ahead, in milliseconds. */
  clockSkewMs: 60_000,
  /** The nonce of a measurement request, in bytes. */
  nonceBytes: 32,
} as const;
