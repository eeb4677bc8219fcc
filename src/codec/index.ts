/** Floor 2: formats that are signed, and nothing of what they mean. */

export { type C14nOptions, canonicalizeXml } from "./c14n.ts";
export { type CmsSignedData, type CmsSigner, parseCmsSignedData } from "./cms.ts";
export {
  type Crl,
  type CrlCheck,
  type CrlResult,
  type CrlRule,
  checkCrl,
  findRevocation,
  isRevoked,
  parseCrl,
  type Revocation,
  type RevocationReason,
} from "./crl.ts";
export { isOfPoint } from "./crl-points.ts";
export * from "./der.ts";
export * from "./der-read.ts";
export * from "./dsse.ts";
export { verifyRawEcdsa } from "./ecdsa.ts";
export {
  createHpkeKeyPair,
  type HpkeContext,
  type HpkeKeyPair,
  type HpkeMessage,
  openHpke,
  pointOf,
  readHpkeKey,
  sealHpke,
} from "./hpke.ts";
export { jcs } from "./jcs.ts";
export {
  encodeOcspRequest,
  type OcspCertId,
  type OcspQuestion,
  type OcspResponse,
  type OcspSingle,
  type OcspStatus,
  parseOcspResponse,
} from "./ocsp.ts";
export * from "./ocsp-check.ts";
export { OID } from "./oid.ts";
export * from "./pem.ts";
export {
  encodeTimestampRequest,
  parseTimestampResponse,
  type TimestampAnswer,
  type TimestampQuestion,
  type TimestampToken,
} from "./tsp.ts";
export { checkTimestamp, type TimestampCheck, type TimestampResult, type TimestampRule } from "./tsp-check.ts";
export { type Certificate, type CertificateOptions, parseCertificate } from "./x509.ts";
export { type SignatureAlgorithm, type SignatureHash, type SignedDer, verifySignedBy } from "./x509-algorithm.ts";
export * from "./x509-chain.ts";
export type { AlternativeName, Extension, Extensions, KeyUsage } from "./x509-extensions.ts";
export { nameToText, type X509Name } from "./x509-name.ts";
export { attributeOf, childElements, parseXml, textOf, type XmlAttribute, type XmlElement } from "./xml.ts";
export { verifyEnvelopedSignature, type XmlSignatureResult } from "./xmldsig.ts";
