/** OCSP (RFC 6960): requests, and responses that are checked against the issuer, the question and the clock. */
import { createHash } from "node:crypto";
import { equalBytes } from "../base/index.ts";
import { type RevocationReason, readReason } from "./crl.ts";
import { DER_TAG, type DerNode, parseDer } from "./der.ts";
import {
  DerFields,
  derBitBytes,
  derInner,
  derInteger,
  derOctets,
  derOid,
  derSequence,
  derSmallInteger,
  derTime,
  isContext,
  isUniversal,
} from "./der-read.ts";
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { OID } from "./oid.ts";
import { type Certificate, parseCertificate } from "./x509.ts";
import { readHashOid, readSignatureAlgorithm, type SignedDer } from "./x509-algorithm.ts";
import { type Extensions, readExtensions } from "./x509-extensions.ts";
import { readName } from "./x509-name.ts";

/** Names a certificate by its issuer and serial number. */
export interface OcspCertId {
  /** OID. */
  readonly hash: string;
  readonly issuerNameHash: Uint8Array;
  readonly issuerKeyHash: Uint8Array;
  readonly serialNumber: bigint;
}

export type OcspStatus =
  | { readonly kind: "good" }
  | { readonly kind: "revoked"; readonly at: number; readonly reason: RevocationReason }
  | { readonly kind: "unknown" };

/** What is said of one certificate; times in milliseconds since 1970. */
export interface OcspSingle {
  readonly id: OcspCertId;
  readonly status: OcspStatus;
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
}

export interface OcspResponse extends SignedDer {
  /** The whole DER. */
  readonly raw: Uint8Array;
  /** The responder by the DER of its name, or by the SHA-1 of its key. */
  readonly responder: { readonly name: Uint8Array } | { readonly keyHash: Uint8Array };
  readonly producedAt: number;
  readonly singles: readonly OcspSingle[];
  readonly nonce: Uint8Array | undefined;
  /** What the response carries; trusted for nothing. */
  readonly certificates: readonly Certificate[];
}

const FAILURES = ["", "malformedRequest", "internalError", "tryLater", "", "sigRequired", "unauthorized"] as const;

const refuse = (why: string) => codecError("OCSP_INVALID", { detail: why });

/** Throws OCSP_INVALID, also for a response that says there is none; DER_INVALID, X509_INVALID, CRL_INVALID for parts. */
export function parseOcspResponse(der: Uint8Array): OcspResponse {
  const raw = Uint8Array.from(der);
  const fields = new DerFields(parseDer(raw, { maxBytes: CODEC_LIMITS.ocspBytes }));
  const statusNode = fields.take();
  const status = isUniversal(statusNode, DER_TAG.enumerated) ? derSmallInteger(statusNode) : -1;
  const bytes = fields.takeContext(0);
  fields.end();
  if (status !== 0 || !bytes) throw refuse(`no response: ${FAILURES[status] || "unknown status"}`);
  const typed = new DerFields(derInner(bytes));
  const type = derOid(typed.take());
  const basic = derOctets(typed.take());
  typed.end();
  if (type !== OID.ocspBasic) throw refuse(`response type ${type}`);
  return { raw, ...readBasic(parseDer(basic, { maxBytes: CODEC_LIMITS.ocspBytes })) };
}

/** BasicOCSPResponse (section 4.2.1). */
function readBasic(node: DerNode): Omit<OcspResponse, "raw"> {
  const fields = new DerFields(node);
  const data = fields.take();
  const algorithm = fields.take();
  const signature = derBitBytes(fields.take());
  const certificates = fields.takeContext(0);
  fields.end();
  return {
    tbs: data.raw,
    signatureAlgorithm: readSignatureAlgorithm(algorithm),
    signature,
    ...readData(data),
    certificates: certificates ? readCertificates(derInner(certificates)) : [],
  };
}

function readCertificates(node: DerNode): Certificate[] {
  const nodes = derSequence(node);
  if (nodes.length > CODEC_LIMITS.ocspCertificates) throw refuse(`${nodes.length} certificates`);
  return nodes.map(({ raw }) => parseCertificate(raw));
}

function readData(node: DerNode): Pick<OcspResponse, "responder" | "producedAt" | "singles" | "nonce"> {
  const fields = new DerFields(node);
  const version = fields.takeContext(0);
  if (version && derSmallInteger(derInner(version)) !== 0) throw refuse("version");
  const responder = readResponder(fields.take());
  const producedAt = derTime(fields.take());
  const nodes = derSequence(fields.take());
  const tagged = fields.takeContext(1);
  fields.end();
  if (nodes.length === 0 || nodes.length > CODEC_LIMITS.ocspResponses) throw refuse(`${nodes.length} responses`);
  const extensions: Extensions = tagged ? readExtensions(derInner(tagged)) : new Map();
  refuseCritical(extensions);
  return { responder, producedAt, singles: nodes.map(readSingle), nonce: readNonce(extensions) };
}

function refuseCritical(extensions: Extensions): void {
  for (const [oid, { critical }] of extensions) {
    if (critical && oid !== OID.ocspNonce) throw refuse(`critical extension ${oid}`);
  }
}

function readNonce(extensions: Extensions): Uint8Array | undefined {
  const extension = extensions.get(OID.ocspNonce);
  const nonce = extension && derOctets(parseDer(extension.value));
  if (nonce && (nonce.length === 0 || nonce.length > CODEC_LIMITS.ocspNonceBytes)) throw refuse("length of the nonce");
  return nonce;
}

function readResponder(node: DerNode): OcspResponse["responder"] {
  if (isContext(node, 1)) return { name: readName(derInner(node)).raw };
  if (isContext(node, 2)) return { keyHash: derOctets(derInner(node)) };
  throw refuse("responder");
}

function readSingle(node: DerNode): OcspSingle {
  const fields = new DerFields(node);
  const id = readCertId(fields.take());
  const status = readStatus(fields.take());
  const thisUpdate = derTime(fields.take());
  const next = fields.takeContext(0);
  const extensions = fields.takeContext(1);
  fields.end();
  if (extensions) refuseCritical(readExtensions(derInner(extensions)));
  return { id, status, thisUpdate, nextUpdate: next && derTime(derInner(next)) };
}

function readCertId(node: DerNode): OcspCertId {
  const fields = new DerFields(node);
  const hash = readHashOid(fields.take());
  const issuerNameHash = derOctets(fields.take());
  const issuerKeyHash = derOctets(fields.take());
  const serial = fields.take();
  fields.end();
  if (serial.content.length > CODEC_LIMITS.serialOctets) throw refuse("length of a serial number");
  return { hash, issuerNameHash, issuerKeyHash, serialNumber: derInteger(serial) };
}

function readStatus(node: DerNode): OcspStatus {
  const empty = !node.tag.constructed && node.content.length === 0;
  if (isContext(node, 0) && empty) return { kind: "good" };
  if (isContext(node, 2) && empty) return { kind: "unknown" };
  if (!isContext(node, 1) || !node.tag.constructed) throw refuse("status of a certificate");
  const [at, why, ...more] = node.children;
  if (!at || more.length > 0 || (why && !isContext(why, 0))) throw refuse("status of a certificate");
  return { kind: "revoked", at: derTime(at), reason: why ? readReason(derInner(why)) : "unspecified" };
}

const HASH_NAMES: ReadonlyMap<string, string> = new Map([
  [OID.sha1, "sha1"],
  [OID.sha256, "sha256"],
  [OID.sha384, "sha384"],
  [OID.sha512, "sha512"],
]);

/** Whether an answer is about this certificate: SHA-1 only names it here, the responder's signature is what counts. */
export function namesCertificate(id: OcspCertId, certificate: Certificate, issuer: Certificate): boolean {
  const hash = HASH_NAMES.get(id.hash);
  return (
    hash !== undefined &&
    id.serialNumber === certificate.serialNumber &&
    equalBytes(id.issuerNameHash, digest(hash, issuer.subject.raw)) &&
    equalBytes(id.issuerKeyHash, digest(hash, issuer.publicKeyBytes))
  );
}

export const digest = (hash: string, bytes: Uint8Array) => new Uint8Array(createHash(hash).update(bytes).digest());

const tlv = (tag: number, content: Uint8Array) => {
  if (content.length > 0xffff) throw refuse("a part of the request is too long");
  const length = content.length < 0x80 ? [content.length] : longLength(content.length);
  return Buffer.concat([Uint8Array.of(tag, ...length), content]);
};
const longLength = (length: number) => (length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]);
const sequence = (...parts: readonly Uint8Array[]) => tlv(0x30, Buffer.concat(parts));
const fromHexText = (hex: string) => Buffer.from(hex, "hex");

/** AlgorithmIdentifier of SHA-1 and of SHA-256, and the OID of the nonce, as DER. */
const SHA1_DER = fromHexText("300906052b0e03021a0500");
const SHA256_DER = fromHexText("300d06096086480165030402010500");
const NONCE_DER = fromHexText("06092b0601050507300102");

export interface OcspQuestion {
  readonly certificate: Certificate;
  readonly issuer: Certificate;
  /** 1 to 128 bytes; fresh for every request. */
  readonly nonce?: Uint8Array;
  /** Of the CertID; responders of the lightweight profile (RFC 5019) know SHA-1 alone, the default. */
  readonly hash?: "sha1" | "sha256";
}

/** An unsigned OCSPRequest about one certificate: the body of a POST as `application/ocsp-request`. */
export function encodeOcspRequest({ certificate, issuer, nonce, hash = "sha1" }: OcspQuestion): Uint8Array {
  if (nonce && (nonce.length === 0 || nonce.length > CODEC_LIMITS.ocspNonceBytes)) throw refuse("length of the nonce");
  const id = sequence(
    hash === "sha1" ? SHA1_DER : SHA256_DER,
    tlv(0x04, digest(hash, issuer.subject.raw)),
    tlv(0x04, digest(hash, issuer.publicKeyBytes)),
    tlv(0x02, serialContent(certificate)),
  );
  const extension = nonce && tlv(0xa2, sequence(sequence(NONCE_DER, tlv(0x04, tlv(0x04, nonce)))));
  return new Uint8Array(sequence(sequence(sequence(sequence(id)), ...(extension ? [extension] : []))));
}

/** As the certificate has it, with the zero that keeps it positive. */
function serialContent({ serialNumber, serialHex }: Certificate): Uint8Array {
  const bytes = fromHexText(serialHex);
  const padded = serialNumber >= 0n && (bytes[0] ?? 0) >= 0x80;
  return padded ? Buffer.concat([Uint8Array.of(0), bytes]) : bytes;
}
