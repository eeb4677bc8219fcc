/** Limits of the codecs. */
export const CODEC_LIMITS = {
  /** A DER document that nobody named a limit for, in bytes. */
  derBytes: 64 * 1024,
  /** Nesting of DER values. */
  derDepth: 32,
  /** Values in one DER document. */
  derNodes: 4_096,
  /** One arc of an object identifier, in octets of seven bits. */
  oidArcOctets: 19,
  /** A serial number, in octets; 20 of a positive number and the zero before them (RFC 5280, section 4.1.2.2). */
  serialOctets: 21,
  /** Parsed certificates that are kept for the next time. */
  keptCertificates: 256,
  /** Extensions of one certificate, list or response. */
  extensions: 64,
  /** Attributes of one name. */
  nameAttributes: 64,
  /** Alternative names of one certificate. */
  alternativeNames: 256,
  /** Modulus of an RSA key, in bits. */
  rsaMinBits: 2_048,
  rsaMaxBits: 8_192,
  /** Public exponent of an RSA key, in bits. */
  rsaExponentBits: 64,
  /** Certificates between leaf and anchor, both counted. */
  chainDepth: 10,
  /** Certificates that a peer may offer for one chain. */
  chainCandidates: 64,
  /** Signatures checked while one chain is searched. */
  chainSignatures: 64,
  /** A revocation list, in bytes, in values and in entries. */
  crlBytes: 4 * 1024 * 1024,
  crlNodes: 400_000,
  crlEntries: 50_000,
  /** An OCSP response, in bytes. */
  ocspBytes: 64 * 1024,
  /** Certificates and single responses in it. */
  ocspCertificates: 8,
  ocspResponses: 32,
  /** A nonce of OCSP, in bytes (RFC 9654, section 2.1). */
  ocspNonceBytes: 128,
  /** A CMS message, in bytes; certificates and signed attributes in it. */
  cmsBytes: 64 * 1024,
  cmsCertificates: 16,
  cmsAttributes: 32,
  /** Certificates that one attribute of a timestamp names. */
  essCertificates: 16,
  /** Accuracy of a timestamp, in seconds: beyond a day it says nothing. */
  timestampAccuracySeconds: 86_400,
  /** An XML document, in bytes; its nesting, its elements, and the attributes of one element. */
  xmlBytes: 1024 * 1024,
  xmlDepth: 32,
  xmlElements: 20_000,
  xmlAttributes: 64,
  /** Namespace prefixes in force at one place of an XML document: canonicalization looks at all of them for every element. */
  xmlNamespaces: 64,
  /** Certificates in a KeyInfo. */
  xmldsigCertificates: 8,
  /** How far another machine's clock may be ahead, in milliseconds. */
  clockSkewMs: 5 * 60 * 1000,
} as const;
