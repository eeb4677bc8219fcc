/** Writes DER for tests, and on top of it certificates, revocation lists and OCSP responses: right ones and wrong ones. */
import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { concatBytes, utf8 } from "../../src/base/index.ts";

export type Der = Uint8Array;

export function tlv(tag: number, ...parts: readonly Uint8Array[]): Der {
  const content = concatBytes(...parts);
  return concatBytes(Uint8Array.of(tag), lengthOctets(content.length), content);
}

function lengthOctets(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest & 0xff);
  return Uint8Array.of(0x80 | bytes.length, ...bytes);
}

export const sequence = (...parts: readonly Uint8Array[]): Der => tlv(0x30, ...parts);
export const octets = (bytes: Uint8Array): Der => tlv(0x04, bytes);
export const nothing = (): Der => tlv(0x05);
export const boolean = (value: boolean): Der => tlv(0x01, Uint8Array.of(value ? 0xff : 0));
export const utf8String = (text: string): Der => tlv(0x0c, utf8(text));
export const printableString = (text: string): Der => tlv(0x13, utf8(text));
export const ia5String = (text: string): Der => tlv(0x16, utf8(text));
/** [n] EXPLICIT, or a constructed [n] IMPLICIT: the bytes are the same. */
export const explicit = (number: number, ...parts: readonly Uint8Array[]): Der => tlv(0xa0 | number, ...parts);
/** A primitive [n] IMPLICIT. */
export const implicit = (number: number, bytes: Uint8Array): Der => tlv(0x80 | number, bytes);
export const bits = (bytes: Uint8Array, unused = 0): Der => tlv(0x03, Uint8Array.of(unused), bytes);

/** SET OF, its elements in the order that DER wants. */
export function setOf(...parts: readonly Uint8Array[]): Der {
  return tlv(0x31, ...[...parts].sort((a, b) => Buffer.compare(a, b)));
}

export function integer(value: number | bigint, tag = 0x02): Der {
  const big = BigInt(value);
  let size = 1;
  while (BigInt.asIntN(size * 8, big) !== big) size++;
  const hex = BigInt.asUintN(size * 8, big)
    .toString(16)
    .padStart(size * 2, "0");
  return tlv(tag, Buffer.from(hex, "hex"));
}

export const enumerated = (value: number): Der => integer(value, 0x0a);

export function oid(text: string): Der {
  const [first = 0n, second = 0n, ...rest] = text.split(".").map(BigInt);
  return tlv(0x06, ...[first * 40n + second, ...rest].map(base128));
}

function base128(value: bigint): Uint8Array {
  const bytes = [Number(value & 0x7fn)];
  for (let rest = value >> 7n; rest > 0n; rest >>= 7n) bytes.unshift(Number(rest & 0x7fn) | 0x80);
  return Uint8Array.from(bytes);
}

const digitsOf = (ms: number) => `${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, "")}Z`;
export const generalizedTime = (ms: number): Der => tlv(0x18, utf8(digitsOf(ms)));
export const utcTime = (ms: number): Der => tlv(0x17, utf8(digitsOf(ms).slice(2)));
/** UTCTime through 2049, GeneralizedTime after (RFC 5280, section 4.1.2.5). */
export const time = (ms: number): Der => (digitsOf(ms) < "2050" ? utcTime(ms) : generalizedTime(ms));

/** A Name with one attribute for each pair of OID and text. */
export function name(...attributes: readonly (readonly [string, string])[]): Der {
  return sequence(...attributes.map(([type, value]) => setOf(sequence(oid(type), utf8String(value)))));
}

export const commonName = (text: string): Der => name(["2.5.4.3", text]);

export type KeyKind = "P-256" | "P-384" | "P-521" | "rsa" | "ed25519";
export type SignatureName =
  | `ecdsa-sha${256 | 384 | 512}`
  | `rsa-sha${256 | 384 | 512}`
  | `pss-sha${256 | 384 | 512}`
  | "ed25519";

export interface Keys {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** A certificate and the key that it names. */
export interface Party extends Keys {
  /** The certificate. */
  readonly der: Der;
  /** The subject's Name. */
  readonly name: Der;
  readonly serial: bigint;
}

export function makeKeys(kind: KeyKind = "P-256"): Keys {
  if (kind === "rsa") return generateKeyPairSync("rsa", { modulusLength: 2048 });
  return kind === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: kind });
}

export const spkiOf = (key: KeyObject): Der => new Uint8Array(key.export({ type: "spki", format: "der" }));

/** SHA-1 of the key's BIT STRING without its first octet (RFC 5280, section 4.2.1.2). */
export function keyIdOf(key: KeyObject): Uint8Array {
  const spki = spkiOf(key);
  const sizes = { ec: { prime256v1: 65, secp384r1: 97, secp521r1: 133 } as Record<string, number>, ed25519: 32 };
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const size =
    key.asymmetricKeyType === "ed25519"
      ? sizes.ed25519
      : key.asymmetricKeyType === "ec"
        ? (sizes.ec[curve ?? ""] ?? 0)
        : key.export({ type: "pkcs1", format: "der" }).length;
  return sha("sha1", spki.subarray(spki.length - size));
}

export const sha = (hash: string, bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash(hash).update(bytes).digest());

const HASH_OIDS = {
  sha1: "1.3.14.3.2.26",
  sha256: "2.16.840.1.101.3.4.2.1",
  sha384: "2.16.840.1.101.3.4.2.2",
  sha512: "2.16.840.1.101.3.4.2.3",
};
const ECDSA_OIDS = { sha256: "1.2.840.10045.4.3.2", sha384: "1.2.840.10045.4.3.3", sha512: "1.2.840.10045.4.3.4" };
const RSA_OIDS = { sha256: "1.2.840.113549.1.1.11", sha384: "1.2.840.113549.1.1.12", sha512: "1.2.840.113549.1.1.13" };

function usualSignature(key: KeyObject): SignatureName {
  if (key.asymmetricKeyType === "ed25519") return "ed25519";
  if (key.asymmetricKeyType === "rsa") return "rsa-sha256";
  const curve = key.asymmetricKeyDetails?.namedCurve;
  return curve === "secp521r1" ? "ecdsa-sha512" : curve === "secp384r1" ? "ecdsa-sha384" : "ecdsa-sha256";
}

const hashOf = (algorithm: SignatureName) => algorithm.split("-")[1] as "sha256" | "sha384" | "sha512";

export function algorithmIdentifier(algorithm: SignatureName, saltBytes?: number): Der {
  if (algorithm === "ed25519") return sequence(oid("1.3.101.112"));
  const hash = hashOf(algorithm);
  if (algorithm.startsWith("ecdsa")) return sequence(oid(ECDSA_OIDS[hash]));
  if (algorithm.startsWith("rsa")) return sequence(oid(RSA_OIDS[hash]), nothing());
  const digest = sequence(oid(HASH_OIDS[hash]), nothing());
  const mgf = sequence(oid("1.2.840.113549.1.1.8"), digest);
  const salt = integer(saltBytes ?? Number(hash.slice(3)) / 8);
  return sequence(oid("1.2.840.113549.1.1.10"), sequence(explicit(0, digest), explicit(1, mgf), explicit(2, salt)));
}

export function signBytes(bytes: Uint8Array, key: KeyObject, algorithm: SignatureName, saltBytes?: number): Uint8Array {
  if (algorithm === "ed25519") return new Uint8Array(sign(null, bytes, key));
  const hash = hashOf(algorithm);
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: saltBytes ?? Number(hash.slice(3)) / 8 };
  return new Uint8Array(sign(hash, bytes, algorithm.startsWith("pss") ? { key, ...pss } : key));
}

export interface SigningOptions {
  /** Default: what is usual for the signer's key. */
  readonly algorithm?: SignatureName;
  /** Salt of RSASSA-PSS; default: the length of the hash. */
  readonly saltBytes?: number;
  /** The salt that the algorithm identifier states, when it shall lie. */
  readonly statedSaltBytes?: number;
}

function identifierFor(key: KeyObject, options: SigningOptions): Der {
  const algorithm = options.algorithm ?? usualSignature(key);
  return algorithmIdentifier(algorithm, options.statedSaltBytes ?? options.saltBytes);
}

/** SEQUENCE { tbs, algorithm, signature, ...rest }. */
function signed(tbs: Der, key: KeyObject, options: SigningOptions, ...rest: readonly Der[]): Der {
  const signature = signBytes(tbs, key, options.algorithm ?? usualSignature(key), options.saltBytes);
  return sequence(tbs, identifierFor(key, options), bits(signature), ...rest);
}

export interface ExtensionOptions {
  readonly oid: string;
  readonly critical?: boolean;
  /** What the OCTET STRING holds. */
  readonly value: Uint8Array;
}

export function extension({ oid: type, critical = false, value }: ExtensionOptions): Der {
  return sequence(oid(type), ...(critical ? [boolean(true)] : []), octets(value));
}

const KEY_USAGES = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;
export type KeyUsageName = (typeof KEY_USAGES)[number];

function keyUsageBits(names: readonly KeyUsageName[]): Der {
  const highest = Math.max(...names.map((usage) => KEY_USAGES.indexOf(usage)));
  const bytes = new Uint8Array(Math.floor(highest / 8) + 1);
  for (const usage of names) {
    const index = KEY_USAGES.indexOf(usage);
    bytes[index >> 3] = (bytes[index >> 3] ?? 0) | (0x80 >> (index & 7));
  }
  return bits(bytes, 7 - (highest % 8));
}

export interface CertificateOptions extends SigningOptions {
  /** A common name or a whole Name. */
  readonly subject: string | Der;
  /** Who signs; self-signed when absent. */
  readonly issuer?: Pick<Party, "name" | "privateKey" | "publicKey">;
  readonly keys?: Keys;
  readonly keyKind?: KeyKind;
  readonly serial?: bigint;
  /** Milliseconds; default: 2024-01-01 to 2034-01-01. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Absent: no basicConstraints. */
  readonly ca?: boolean;
  readonly pathLength?: number;
  readonly keyUsage?: readonly KeyUsageName[];
  readonly extendedKeyUsage?: readonly string[];
  /** GeneralNames, each written by implicit() or explicit(). */
  readonly subjectAltNames?: readonly Der[];
  /** Default true: subject and authority key identifiers. */
  readonly keyIdentifiers?: boolean;
  readonly authorityKeyId?: Uint8Array;
  readonly extensions?: readonly ExtensionOptions[];
}

export const DEFAULT_NOT_BEFORE = Date.UTC(2024, 0, 1);
export const DEFAULT_NOT_AFTER = Date.UTC(2034, 0, 1);
let serials = 1000n;

export function makeCertificate(options: CertificateOptions): Party {
  const keys = options.keys ?? makeKeys(options.keyKind);
  const subject = typeof options.subject === "string" ? commonName(options.subject) : options.subject;
  const issuer = options.issuer ?? { name: subject, ...keys };
  const serial = options.serial ?? serials++;
  const extensions = certificateExtensions(options, keys, issuer.publicKey).map(extension);
  const tbs = sequence(
    explicit(0, integer(2)),
    integer(serial),
    identifierFor(issuer.privateKey, options),
    issuer.name,
    sequence(time(options.notBefore ?? DEFAULT_NOT_BEFORE), time(options.notAfter ?? DEFAULT_NOT_AFTER)),
    subject,
    spkiOf(keys.publicKey),
    ...(extensions.length > 0 ? [explicit(3, sequence(...extensions))] : []),
  );
  return { ...keys, der: signed(tbs, issuer.privateKey, options), name: subject, serial };
}

function certificateExtensions(options: CertificateOptions, keys: Keys, issuerKey: KeyObject): ExtensionOptions[] {
  const { ca, pathLength, keyUsage, extendedKeyUsage, subjectAltNames, keyIdentifiers = true } = options;
  const list: ExtensionOptions[] = [];
  if (ca !== undefined) {
    const parts = [...(ca ? [boolean(true)] : []), ...(pathLength === undefined ? [] : [integer(pathLength)])];
    list.push({ oid: "2.5.29.19", critical: true, value: sequence(...parts) });
  }
  if (keyUsage) list.push({ oid: "2.5.29.15", critical: true, value: keyUsageBits(keyUsage) });
  if (extendedKeyUsage) list.push({ oid: "2.5.29.37", value: sequence(...extendedKeyUsage.map(oid)) });
  // Critical where there is no other name (RFC 5280, section 4.2.1.6).
  const critical = typeof options.subject !== "string" && options.subject.length === 2;
  if (subjectAltNames) list.push({ oid: "2.5.29.17", critical, value: sequence(...subjectAltNames) });
  if (keyIdentifiers) {
    list.push({ oid: "2.5.29.14", value: octets(keyIdOf(keys.publicKey)) });
    list.push(authorityKeyIdentifier(options.authorityKeyId ?? keyIdOf(issuerKey)));
  }
  return [...list, ...(options.extensions ?? [])];
}

export const authorityKeyIdentifier = (keyId: Uint8Array): ExtensionOptions => ({
  oid: "2.5.29.35",
  value: sequence(implicit(0, keyId)),
});

/** A certificate authority's certificate: CA flag, keyCertSign and cRLSign. */
export function makeAuthority(options: CertificateOptions): Party {
  return makeCertificate({ ca: true, keyUsage: ["keyCertSign", "cRLSign"], ...options });
}

export interface CrlOptions extends SigningOptions {
  readonly issuer: Pick<Party, "name" | "privateKey" | "publicKey">;
  readonly revoked?: readonly {
    readonly serial: bigint;
    readonly at: number;
    readonly reason?: number;
    readonly extensions?: readonly ExtensionOptions[];
  }[];
  readonly thisUpdate: number;
  /** Undefined: left out. */
  readonly nextUpdate: number | undefined;
  /** Undefined: left out. */
  readonly number?: bigint | undefined;
  readonly authorityKeyId?: Uint8Array | undefined;
  readonly extensions?: readonly ExtensionOptions[];
}

export function makeCrl(options: CrlOptions): Der {
  const { issuer, revoked = [], thisUpdate, nextUpdate } = options;
  const keyId = "authorityKeyId" in options ? options.authorityKeyId : keyIdOf(issuer.publicKey);
  const number = "number" in options ? options.number : 1n;
  const extensions = [
    ...(keyId ? [authorityKeyIdentifier(keyId)] : []),
    ...(number === undefined ? [] : [{ oid: "2.5.29.20", value: integer(number) }]),
    ...(options.extensions ?? []),
  ];
  const entries = revoked.map(({ serial, at, reason, extensions: own = [] }) => {
    const all = [...(reason === undefined ? [] : [{ oid: "2.5.29.21", value: enumerated(reason) }]), ...own];
    return sequence(integer(serial), time(at), ...(all.length > 0 ? [sequence(...all.map(extension))] : []));
  });
  const tbs = sequence(
    integer(1),
    identifierFor(issuer.privateKey, options),
    issuer.name,
    time(thisUpdate),
    ...(nextUpdate === undefined ? [] : [time(nextUpdate)]),
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    ...(extensions.length > 0 ? [explicit(0, sequence(...extensions.map(extension)))] : []),
  );
  return signed(tbs, issuer.privateKey, options);
}

export interface OcspOptions extends SigningOptions {
  /** The serial number asked about. */
  readonly serial: bigint;
  readonly issuer: Pick<Party, "name" | "publicKey">;
  /** Who signs the response. */
  readonly responder: Party;
  /** Certificates in the response; default: the responder's. */
  readonly certificates?: readonly Der[];
  readonly status: "good" | "revoked" | "unknown";
  readonly revokedAt?: number;
  readonly reason?: number;
  readonly producedAt?: number;
  readonly thisUpdate: number;
  /** Undefined: left out. */
  readonly nextUpdate: number | undefined;
  readonly nonce?: Uint8Array;
  /** Of the CertID; default sha1. */
  readonly hash?: keyof typeof HASH_OIDS;
  readonly responderBy?: "name" | "key";
  /** Extra responses before this one, written by makeOcspSingle. */
  readonly others?: readonly Der[];
}

export type OcspSingleOptions = Pick<
  OcspOptions,
  "serial" | "issuer" | "status" | "revokedAt" | "reason" | "thisUpdate" | "nextUpdate" | "hash"
>;

export function makeOcspSingle(options: OcspSingleOptions): Der {
  const { issuer, hash = "sha1", status, thisUpdate, nextUpdate, reason } = options;
  const certId = sequence(
    sequence(oid(HASH_OIDS[hash]), nothing()),
    octets(sha(hash, issuer.name)),
    octets(hash === "sha1" ? keyIdOf(issuer.publicKey) : keyHashOf(issuer.publicKey, hash)),
    integer(options.serial),
  );
  const why = reason === undefined ? [] : [explicit(0, enumerated(reason))];
  const revoked = explicit(1, generalizedTime(options.revokedAt ?? thisUpdate), ...why);
  const state = status === "revoked" ? revoked : implicit(status === "good" ? 0 : 2, new Uint8Array());
  const next = nextUpdate === undefined ? [] : [explicit(0, generalizedTime(nextUpdate))];
  return sequence(certId, state, generalizedTime(thisUpdate), ...next);
}

function keyHashOf(key: KeyObject, hash: string): Uint8Array {
  const spki = spkiOf(key);
  for (let size = 1; size < spki.length; size++) {
    const tail = spki.subarray(spki.length - size);
    if (Buffer.compare(sha("sha1", tail), keyIdOf(key)) === 0) return sha(hash, tail);
  }
  throw new Error("the key has no key identifier");
}

export function makeOcspResponse(options: OcspOptions): Der {
  const { responder, nonce, thisUpdate, certificates = [responder.der] } = options;
  const byName = options.responderBy === "name";
  const id = byName ? explicit(1, responder.name) : explicit(2, octets(keyIdOf(responder.publicKey)));
  const nonceExtension = nonce && extension({ oid: "1.3.6.1.5.5.7.48.1.2", value: octets(nonce) });
  const data = sequence(
    id,
    generalizedTime(options.producedAt ?? thisUpdate),
    sequence(...(options.others ?? []), makeOcspSingle(options)),
    ...(nonceExtension ? [explicit(1, sequence(nonceExtension))] : []),
  );
  const carried = certificates.length > 0 ? [explicit(0, sequence(...certificates))] : [];
  const basic = signed(data, responder.privateKey, options, ...carried);
  return sequence(enumerated(0), explicit(0, sequence(oid("1.3.6.1.5.5.7.48.1.1"), octets(basic))));
}

/** A response that says only why there is none, for example 3: try later. */
export const makeOcspFailure = (status: number): Der => sequence(enumerated(status));
