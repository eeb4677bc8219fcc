/** Signed messages (CMS, RFC 5652, section 5): one signer, signed attributes, content inside; read strictly, trusted for nothing. */
import { createHash } from "node:crypto";
import { concatBytes, equalBytes } from "../base/index.ts";
import { DER_TAG, type DerNode, parseDer } from "./der.ts";
import {
  DerFields,
  derInner,
  derInteger,
  derOctets,
  derOid,
  derSet,
  derSmallInteger,
  isContext,
  isUniversal,
} from "./der-read.ts";
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { OID } from "./oid.ts";
import { type Certificate, parseCertificate } from "./x509.ts";
import {
  readHashOid,
  readSignatureAlgorithm,
  type SignatureAlgorithm,
  type SignatureHash,
  type SignedDer,
  verifySignedBy,
} from "./x509-algorithm.ts";
import { readName } from "./x509-name.ts";

export type CmsSignerId =
  | { readonly issuer: Uint8Array; readonly serialNumber: bigint }
  | { readonly keyIdentifier: Uint8Array };

export interface CmsSigner extends SignedDer {
  readonly id: CmsSignerId;
  /** Of the content. */
  readonly hash: SignatureHash;
  /** The values of each signed attribute, by its type. */
  readonly attributes: ReadonlyMap<string, readonly DerNode[]>;
}

export interface CmsSignedData {
  readonly contentType: string;
  readonly content: Uint8Array;
  /** What the signer sent along, in any order. */
  readonly certificates: readonly Certificate[];
  readonly signer: CmsSigner;
}

const HASHES: Readonly<Record<string, SignatureHash>> = {
  [OID.sha256]: "sha256",
  [OID.sha384]: "sha384",
  [OID.sha512]: "sha512",
};

const refuse = (why: string) => codecError("CMS_INVALID", { detail: why });

/** A ContentInfo with SignedData. Throws DER_INVALID, X509_INVALID or CMS_INVALID. */
export function parseCmsSignedData(der: Uint8Array): CmsSignedData {
  return readCmsSignedData(parseDer(Uint8Array.from(der), { maxBytes: CODEC_LIMITS.cmsBytes }));
}

export function readCmsSignedData(node: DerNode): CmsSignedData {
  const info = new DerFields(node);
  if (derOid(info.take()) !== OID.signedData) throw refuse("the content is not signed data");
  const fields = new DerFields(readExplicit(info.take(), 0));
  info.end();
  // Version 3: content that is not plain data, and certificates of X.509 alone (section 5.1).
  if (derSmallInteger(fields.take()) !== 3) throw refuse("version of the signed data");
  const hashes = derSet(fields.take()).map(readHashOid);
  const { contentType, content } = readContent(fields.take());
  const certificates = readCertificates(fields.takeContext(0));
  fields.takeContext(1);
  const [only, ...more] = derSet(fields.take());
  fields.end();
  if (!only || more.length > 0) throw refuse("not exactly one signer");
  const signer = readSigner(only, hashes);
  checkContent(signer, contentType, content);
  return { contentType, content, certificates, signer };
}

function readExplicit(node: DerNode, number: number): DerNode {
  if (!isContext(node, number) || !node.tag.constructed) throw refuse("a tag where another belongs");
  return derInner(node);
}

function readContent(node: DerNode): { contentType: string; content: Uint8Array } {
  const fields = new DerFields(node);
  const contentType = derOid(fields.take());
  const content = derOctets(readExplicit(fields.take(), 0));
  fields.end();
  return { contentType, content };
}

function readCertificates(node: DerNode | undefined): readonly Certificate[] {
  const nodes = node?.children ?? [];
  if (nodes.length > CODEC_LIMITS.cmsCertificates) throw refuse(`${nodes.length} certificates`);
  return nodes.map((one) => {
    if (!isUniversal(one, DER_TAG.sequence)) throw refuse("a certificate that is not of X.509");
    return parseCertificate(one.raw);
  });
}

function readSigner(node: DerNode, hashes: readonly string[]): CmsSigner {
  const fields = new DerFields(node);
  const version = derSmallInteger(fields.take());
  const id = readSignerId(fields.take());
  const hashOid = readHashOid(fields.take());
  const hash = HASHES[hashOid];
  const signedAttributes = fields.takeContext(0);
  const algorithmNode = fields.take();
  const signature = derOctets(fields.take());
  fields.takeContext(1);
  fields.end();
  if (version !== ("issuer" in id ? 1 : 3)) throw refuse("version of the signer");
  if (!hash || !hashes.includes(hashOid)) throw refuse("hash of the content");
  if (!signedAttributes) throw refuse("no signed attributes");
  return {
    id,
    hash,
    attributes: readAttributes(signedAttributes),
    tbs: asSet(signedAttributes),
    signatureAlgorithm: readAlgorithm(algorithmNode, hash),
    signature,
  };
}

function readSignerId(node: DerNode): CmsSignerId {
  if (isContext(node, 0) && !node.tag.constructed) return { keyIdentifier: node.content };
  const fields = new DerFields(node);
  const issuer = readName(fields.take()).raw;
  const serial = fields.take();
  fields.end();
  if (serial.content.length > CODEC_LIMITS.serialOctets) throw refuse("length of a serial number");
  return { issuer, serialNumber: derInteger(serial) };
}

/** Plain `rsaEncryption` takes the hash of the content (RFC 8933, section 3, forbids that they differ). */
function readAlgorithm(node: DerNode, hash: SignatureHash): SignatureAlgorithm {
  const fields = new DerFields(node);
  if (derOid(fields.take()) === OID.rsaEncryption) {
    fields.takeUniversal(DER_TAG.null);
    fields.end();
    return { kind: "rsa-pkcs1", hash };
  }
  const algorithm = readSignatureAlgorithm(node);
  if ("hash" in algorithm && algorithm.hash !== hash) throw refuse("two hashes");
  return algorithm;
}

/** In the order of DER, each type once: what is signed is their encoding as a SET (section 5.4). */
function readAttributes(node: DerNode): ReadonlyMap<string, readonly DerNode[]> {
  const { children } = node;
  if (children.length === 0 || children.length > CODEC_LIMITS.cmsAttributes)
    throw refuse(`${children.length} signed attributes`);
  const found = new Map<string, readonly DerNode[]>();
  for (const [index, child] of children.entries()) {
    const before = children[index - 1];
    if (before && Buffer.compare(before.raw, child.raw) > 0) throw refuse("signed attributes are not in order");
    const fields = new DerFields(child);
    const type = derOid(fields.take());
    const values = derSet(fields.take());
    fields.end();
    if (found.has(type)) throw refuse(`signed attribute ${type} twice`);
    found.set(type, values);
  }
  return found;
}

const SET = 0x31;

function asSet({ raw }: DerNode): Uint8Array {
  return concatBytes(Uint8Array.of(SET), raw.subarray(1));
}

/** The one value of an attribute that must be there. */
export function attributeValue({ attributes }: CmsSigner, type: string): DerNode {
  const [only, ...more] = attributes.get(type) ?? [];
  if (!only || more.length > 0) throw refuse(`signed attribute ${type} has not one value`);
  return only;
}

/** The attributes name the content: its type, and its digest (section 5.3). */
function checkContent(signer: CmsSigner, contentType: string, content: Uint8Array): void {
  if (derOid(attributeValue(signer, OID.contentTypeAttribute)) !== contentType) throw refuse("two content types");
  const digest = new Uint8Array(createHash(signer.hash).update(content).digest());
  if (!equalBytes(derOctets(attributeValue(signer, OID.messageDigestAttribute)), digest))
    throw refuse("the content is not what was signed");
}

/** The certificate that the message says it was signed with, among these. */
export function findCmsSigner({ id }: CmsSigner, among: readonly Certificate[]): Certificate | undefined {
  return among.find((one) =>
    "issuer" in id
      ? equalBytes(one.issuer.raw, id.issuer) && one.serialNumber === id.serialNumber
      : one.subjectKeyIdentifier !== undefined && equalBytes(one.subjectKeyIdentifier, id.keyIdentifier),
  );
}

export function isSignedWith(signer: CmsSigner, certificate: Certificate): boolean {
  return verifySignedBy(signer, certificate.publicKey);
}
