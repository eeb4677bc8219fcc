/** X.509 certificates (RFC 5280, section 4): read strictly; whether to trust one is for the chain to say. */
import { hash, type KeyObject } from "node:crypto";
import { equalBytes, toHex } from "../base/index.ts";
import { type DerNode, parseDer } from "./der.ts";
import { DerFields, derBitBytes, derInner, derInteger, derSmallInteger, derTime } from "./der-read.ts";
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { readPublicKey, readSignatureAlgorithm, type SignedDer } from "./x509-algorithm.ts";
import {
  type Extensions,
  type KnownExtensions,
  listUnknownCritical,
  readExtensions,
  readKnownExtensions,
} from "./x509-extensions.ts";
import { readName, type X509Name } from "./x509-name.ts";

export interface Certificate extends SignedDer, KnownExtensions {
  /** The whole DER. */
  readonly raw: Uint8Array;
  /** SHA-256 of `raw`, lower-case hex: what a pin names. */
  readonly sha256: string;
  readonly serialNumber: bigint;
  /** Lower-case hex of whole bytes. */
  readonly serialHex: string;
  readonly issuer: X509Name;
  readonly subject: X509Name;
  /** Milliseconds since 1970; both ends belong to the validity. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Content of the subjectPublicKey BIT STRING, which key identifiers and OCSP hash. */
  readonly publicKeyBytes: Uint8Array;
  readonly extensions: Extensions;
  /** Critical extensions that nobody here understands: a chain refuses them unless its caller does. */
  readonly unknownCritical: readonly string[];
}

export interface CertificateOptions {
  readonly allowNegativeSerial?: boolean;
}

const refuse = (why: string) => codecError("X509_INVALID", { detail: why });

/**
 * Issuers come again with every chain, and a platform's own certificate with every piece of its evidence: what was
 * parsed is kept by the digest of its bytes, the most recent ones only. Nothing is remembered of who trusts them.
 */
const parsed = new Map<string, Certificate>();

/** Throws DER_INVALID or X509_INVALID. Copies the bytes, so that later changes to them change nothing. */
export function parseCertificate(der: Uint8Array, options: CertificateOptions = {}): Certificate {
  const raw = Uint8Array.from(der);
  const sha256 = hash("sha256", raw, "hex");
  const key = options.allowNegativeSerial ? `${sha256} negative` : sha256;
  const certificate = parsed.get(key) ?? Object.freeze(readCertificate(raw, sha256, options));
  parsed.delete(key);
  parsed.set(key, certificate);
  const [oldest] = parsed.size > CODEC_LIMITS.keptCertificates ? parsed.keys() : [];
  if (oldest !== undefined) parsed.delete(oldest);
  return certificate;
}

function readCertificate(raw: Uint8Array, sha256: string, options: CertificateOptions): Certificate {
  const { tbs, ...signed } = readSigned(parseDer(raw));
  const fields = new DerFields(tbs);
  const version = readVersion(fields);
  const serial = readSerial(fields.take(), options);
  checkInnerAlgorithm(fields.take(), signed.algorithmNode);
  const issuer = readName(fields.take());
  const validity = readValidity(fields.take());
  const subject = readName(fields.take());
  const key = readKey(fields.take());
  const extensions = readTail(fields, version);
  if (issuer.attributes.length === 0) throw refuse("an issuer without a name");
  return {
    raw,
    sha256,
    tbs: tbs.raw,
    signatureAlgorithm: readSignatureAlgorithm(signed.algorithmNode),
    signature: signed.signature,
    ...serial,
    issuer,
    subject,
    ...validity,
    ...key,
    extensions,
    unknownCritical: listUnknownCritical(extensions),
    ...readKnownExtensions(extensions),
  };
}

/** SEQUENCE { tbs, algorithm, signature }, as certificates and revocation lists have it. */
export function readSigned(root: DerNode): { tbs: DerNode; algorithmNode: DerNode; signature: Uint8Array } {
  const fields = new DerFields(root);
  const tbs = fields.take();
  const algorithmNode = fields.take();
  const signature = derBitBytes(fields.take());
  fields.end();
  return { tbs, algorithmNode, signature };
}

/** The algorithm is named twice, once under the signature; both must be the same bytes (section 4.1.1.2). */
export function checkInnerAlgorithm(inner: DerNode, outer: DerNode): void {
  if (!equalBytes(inner.raw, outer.raw)) throw refuse("two signature algorithms");
}

/** 1, 2 or 3. */
function readVersion(fields: DerFields): number {
  const tagged = fields.takeContext(0);
  const version = tagged ? derSmallInteger(derInner(tagged)) + 1 : 1;
  if (version > 3) throw refuse(`version ${version}`);
  return version;
}

/** Zero is legal: AMD's certificates have it. */
function readSerial(node: DerNode, options: CertificateOptions): { serialNumber: bigint; serialHex: string } {
  if (node.content.length > CODEC_LIMITS.serialOctets) throw refuse("length of the serial number");
  const serialNumber = derInteger(node);
  if (serialNumber < 0n && !options.allowNegativeSerial) throw refuse("a negative serial number");
  const content = node.content.length > 1 && node.content[0] === 0 ? node.content.subarray(1) : node.content;
  return { serialNumber, serialHex: toHex(content) };
}

function readValidity(node: DerNode): { notBefore: number; notAfter: number } {
  const fields = new DerFields(node);
  const validity = { notBefore: derTime(fields.take()), notAfter: derTime(fields.take()) };
  fields.end();
  return validity;
}

function readKey(node: DerNode): { publicKey: KeyObject; spki: Uint8Array; publicKeyBytes: Uint8Array } {
  const publicKey = readPublicKey(node);
  const fields = new DerFields(node);
  fields.take();
  const publicKeyBytes = derBitBytes(fields.take());
  fields.end();
  return { publicKey, spki: node.raw, publicKeyBytes };
}

/** Unique identifiers, which nobody uses, and the extensions of version 3. */
function readTail(fields: DerFields, version: number): Extensions {
  const unique = [fields.takeContext(1), fields.takeContext(2)].some((node) => node !== undefined);
  const tagged = fields.takeContext(3);
  fields.end();
  if (unique) throw refuse("unique identifiers");
  if (tagged && version !== 3) throw refuse(`extensions in version ${version}`);
  return tagged ? readExtensions(derInner(tagged)) : new Map();
}
