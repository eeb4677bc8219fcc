/** Timestamps (RFC 3161, with RFC 5816): what is asked, and what an authority answered; trusted for nothing yet. */
import { concatBytes } from "../base/index.ts";
import { attributeValue, type CmsSignedData, readCmsSignedData } from "./cms.ts";
import { DER_TAG, type DerNode, parseDer } from "./der.ts";
import {
  DerFields,
  derBoolean,
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
import { readHashOid, type SignatureHash } from "./x509-algorithm.ts";
import { readExtensions } from "./x509-extensions.ts";
import { readName } from "./x509-name.ts";

/** How a signed attribute names a certificate (ESSCertIDv2, RFC 5035, section 4). */
export interface CertificateName {
  readonly hash: SignatureHash;
  readonly digest: Uint8Array;
  readonly issuer?: { readonly name: Uint8Array; readonly serialNumber: bigint };
}

export interface TimestampToken {
  readonly cms: CmsSignedData;
  /** Dotted decimal. */
  readonly policy: string;
  readonly imprint: { readonly hash: SignatureHash; readonly digest: Uint8Array };
  readonly serialNumber: bigint;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** How far off `at` may be, rounded up; 0 when the authority does not say. */
  readonly accuracyMs: number;
  readonly nonce: bigint | undefined;
  /** The name that the authority gives itself, a whole DER Name. */
  readonly authority: Uint8Array | undefined;
  /** The signer's certificate first; none when the authority does not name them, as RFC 5816 asks it to. */
  readonly certificates: readonly CertificateName[];
}

export type TimestampAnswer =
  | { readonly granted: true; readonly token: TimestampToken }
  /** PKIStatus; 2 is a rejection. */
  | { readonly granted: false; readonly status: number };

const HASHES: Readonly<Record<string, SignatureHash>> = {
  [OID.sha256]: "sha256",
  [OID.sha384]: "sha384",
  [OID.sha512]: "sha512",
};

const refuse = (why: string) => codecError("TIMESTAMP_INVALID", { detail: why });

/** TimeStampResp (section 2.4.2). Throws DER_INVALID, X509_INVALID, CMS_INVALID or TIMESTAMP_INVALID. */
export function parseTimestampResponse(der: Uint8Array): TimestampAnswer {
  const fields = new DerFields(parseDer(Uint8Array.from(der), { maxBytes: CODEC_LIMITS.cmsBytes }));
  const status = readStatus(fields.take());
  const token = fields.takeIf(() => true);
  fields.end();
  // Granted, or granted with changes; a token beside any other status contradicts it.
  if (status > 1 && token) throw refuse("a token that was not granted");
  if (status > 1) return { granted: false, status };
  if (!token) throw refuse("no token");
  return { granted: true, token: readToken(token) };
}

function readStatus(node: DerNode): number {
  const fields = new DerFields(node);
  const status = derSmallInteger(fields.take());
  fields.takeUniversal(DER_TAG.sequence);
  fields.takeUniversal(DER_TAG.bitString);
  fields.end();
  if (status > 5) throw refuse(`status ${status}`);
  return status;
}

function readToken(node: DerNode): TimestampToken {
  const cms = readCmsSignedData(node);
  if (cms.contentType !== OID.timestampInfo) throw refuse("the signed content is no timestamp");
  const isNamed = cms.signer.attributes.has(OID.signingCertificateV2);
  const certificates = isNamed ? readSigningCertificate(attributeValue(cms.signer, OID.signingCertificateV2)) : [];
  return { cms, certificates, ...readInfo(parseDer(cms.content)) };
}

/** TSTInfo. */
function readInfo(node: DerNode): Omit<TimestampToken, "cms" | "certificates"> {
  const fields = new DerFields(node);
  if (derSmallInteger(fields.take()) !== 1) throw refuse("version");
  const policy = derOid(fields.take());
  const imprint = readImprint(fields.take());
  const serialNumber = readSerial(fields.take());
  const at = readTime(fields.take());
  const accuracy = fields.takeUniversal(DER_TAG.sequence);
  const ordering = fields.takeUniversal(DER_TAG.boolean);
  const nonce = fields.takeUniversal(DER_TAG.integer);
  const authority = fields.takeContext(0);
  const extensions = fields.takeContext(1);
  fields.end();
  if (ordering && !derBoolean(ordering)) throw refuse("a default that is written out");
  if (extensions) refuseCritical(extensions);
  return {
    policy,
    imprint,
    serialNumber,
    at,
    accuracyMs: accuracy ? readAccuracy(accuracy) : 0,
    nonce: nonce && readSerial(nonce),
    authority: authority && readAuthority(derInner(authority)),
  };
}

function readImprint(node: DerNode): TimestampToken["imprint"] {
  const fields = new DerFields(node);
  const hash = HASHES[readHashOid(fields.take())];
  const digest = derOctets(fields.take());
  fields.end();
  if (!hash || digest.length * 8 !== Number(hash.slice(3))) throw refuse("hash of the imprint");
  return { hash, digest };
}

/** Up to 160 bits, like the nonce; both may be longer, and are refused then. */
function readSerial(node: DerNode): bigint {
  if (node.content.length > CODEC_LIMITS.serialOctets) throw refuse("length of a number");
  return derInteger(node);
}

const FRACTION = /^(\d{14})\.(\d{1,12})Z$/;

/** GeneralizedTime, with a fraction of the second that does not end in zero; what is below a millisecond is left out. */
function readTime(node: DerNode): number {
  if (!isUniversal(node, DER_TAG.generalizedTime)) throw refuse("form of the time");
  const [, whole, fraction] = FRACTION.exec(Buffer.from(node.content).toString("latin1")) ?? [];
  if (whole === undefined || fraction === undefined) return derTime(node);
  if (fraction.endsWith("0")) throw refuse("form of the time");
  const seconds = derTime({ ...node, content: new Uint8Array(Buffer.from(`${whole}Z`, "latin1")) });
  return seconds + Number(fraction.padEnd(3, "0").slice(0, 3));
}

function readAccuracy(node: DerNode): number {
  const fields = new DerFields(node);
  const seconds = fields.takeUniversal(DER_TAG.integer);
  const parts = [0, 1].map((number) => fields.takeContext(number)).map(readThousandths);
  fields.end();
  const whole = seconds ? derSmallInteger(seconds) : 0;
  if (whole > CODEC_LIMITS.timestampAccuracySeconds) throw refuse(`accuracy of ${whole} seconds`);
  const [millis = 0, micros = 0] = parts;
  return whole * 1000 + millis + Math.ceil(micros / 1000);
}

/** INTEGER (1..999), implicitly tagged. */
function readThousandths(node: DerNode | undefined): number {
  if (!node) return 0;
  const [first = 0xff, second, ...more] = node.content;
  const value = second === undefined ? first : first * 256 + second;
  const minimal = second === undefined ? first < 0x80 : first > 0 || second >= 0x80;
  if (node.tag.constructed || more.length > 0 || !minimal || value < 1 || value > 999) throw refuse("accuracy");
  return value;
}

/** GeneralName: a directory name is compared, other forms are a hint that nobody needs. */
function readAuthority(node: DerNode): Uint8Array | undefined {
  return isContext(node, 4) && node.tag.constructed ? readName(derInner(node)).raw : undefined;
}

const SEQUENCE_TAG = { class: "universal", number: DER_TAG.sequence, constructed: true } as const;

function refuseCritical(node: DerNode): void {
  for (const [oid, { critical }] of readExtensions({ ...node, tag: SEQUENCE_TAG }))
    if (critical) throw refuse(`critical extension ${oid}`);
}

/** SigningCertificateV2; policies after the certificates say nothing that is asked here. */
function readSigningCertificate(node: DerNode): readonly CertificateName[] {
  const fields = new DerFields(node);
  const named = derSequence(fields.take());
  fields.takeUniversal(DER_TAG.sequence);
  fields.end();
  if (named.length === 0 || named.length > CODEC_LIMITS.essCertificates) throw refuse(`${named.length} certificates`);
  return named.map(readCertificateName);
}

function readCertificateName(node: DerNode): CertificateName {
  const fields = new DerFields(node);
  const algorithm = fields.takeUniversal(DER_TAG.sequence);
  const hash = algorithm ? HASHES[readHashOid(algorithm)] : "sha256";
  const digest = derOctets(fields.take());
  const issuer = fields.takeUniversal(DER_TAG.sequence);
  fields.end();
  if (!hash) throw refuse("hash of a certificate");
  return issuer ? { hash, digest, issuer: readIssuerSerial(issuer) } : { hash, digest };
}

function readIssuerSerial(node: DerNode): { name: Uint8Array; serialNumber: bigint } {
  const fields = new DerFields(node);
  const [only, ...more] = derSequence(fields.take());
  const serialNumber = readSerial(fields.take());
  fields.end();
  const name = only && more.length === 0 ? readAuthority(only) : undefined;
  if (!name) throw refuse("issuer of a certificate");
  return { name, serialNumber };
}

export interface TimestampQuestion {
  /** SHA-256 of what is to be stamped. */
  readonly digest: Uint8Array;
  /** Content of a positive DER INTEGER. */
  readonly nonce: Uint8Array;
  /** Dotted decimal; the authority's default when absent. */
  readonly policy?: string | undefined;
}

const SHA256_IDENTIFIER = Uint8Array.from(Buffer.from("300d06096086480165030402010500", "hex"));
const TRUE = Uint8Array.of(0x01, 0x01, 0xff);

/** TimeStampReq (section 2.4.1), version 1, asking for the certificate; shorter than 128 bytes in each part. */
export function encodeTimestampRequest({ digest, nonce, policy }: TimestampQuestion): Uint8Array {
  const imprint = short(0x30, SHA256_IDENTIFIER, short(DER_TAG.octetString, digest));
  const wanted = policy === undefined ? [] : [short(DER_TAG.oid, encodeOid(policy))];
  const version = short(DER_TAG.integer, Uint8Array.of(1));
  return short(0x30, version, imprint, ...wanted, short(DER_TAG.integer, nonce), TRUE);
}

function short(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts);
  if (content.length >= 0x80) throw refuse("a request that is too long");
  return concatBytes(Uint8Array.of(tag, content.length), content);
}

const OID_TEXT = /^[0-2](\.(0|[1-9]\d{0,9})){1,15}$/;

function encodeOid(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = OID_TEXT.test(text) ? text.split(".").map(Number) : [3];
  if (first > 2 || (first < 2 && second > 39)) throw refuse(`policy ${text.slice(0, 80)}`);
  return Uint8Array.from([first * 40 + second, ...rest].flatMap(base128));
}

function base128(value: number): number[] {
  const octets = [value % 128];
  for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) octets.unshift((left % 128) | 0x80);
  return octets;
}
