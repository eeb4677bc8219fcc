/** Extensions of X.509 (RFC 5280, section 4.2): those that decide whether a certificate may be used. */
import { toHex } from "../base/index.ts";
import { DER_TAG, type DerNode, parseDer } from "./der.ts";
import {
  DerFields,
  derBoolean,
  derInner,
  derNamedBits,
  derOctets,
  derOid,
  derSequence,
  derSmallInteger,
  isContext,
} from "./der-read.ts";
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { OID } from "./oid.ts";

export interface Extension {
  readonly critical: boolean;
  /** What the OCTET STRING holds; DER for most extensions, raw bytes for some. */
  readonly value: Uint8Array;
}

export type Extensions = ReadonlyMap<string, Extension>;

/** In the order of their bits. */
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
export type KeyUsage = (typeof KEY_USAGES)[number];

export interface AlternativeName {
  readonly kind: "other" | "email" | "dns" | "x400" | "directory" | "edi" | "uri" | "ip" | "oid";
  /** Text of email, dns and uri; lower-case hex of the content of the others. */
  readonly value: string;
}

export interface KnownExtensions {
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLength?: number };
  readonly keyUsage?: ReadonlySet<KeyUsage>;
  readonly extendedKeyUsage?: readonly string[];
  readonly subjectAltNames?: readonly AlternativeName[];
  readonly subjectKeyIdentifier?: Uint8Array;
  /** The keyIdentifier of the extension. */
  readonly authorityKeyIdentifier?: Uint8Array;
}

const refuse = (why: string) => codecError("X509_INVALID", { detail: why });

/** The Extensions sequence; an extension that is there twice is refused. */
export function readExtensions(node: DerNode): Extensions {
  const found = new Map<string, Extension>();
  const nodes = derSequence(node);
  if (nodes.length === 0 || nodes.length > CODEC_LIMITS.extensions) throw refuse(`${nodes.length} extensions`);
  for (const entry of nodes) {
    const fields = new DerFields(entry);
    const oid = derOid(fields.take());
    const critical = fields.takeUniversal(DER_TAG.boolean);
    const value = derOctets(fields.take());
    fields.end();
    if (found.has(oid)) throw refuse(`extension ${oid} twice`);
    found.set(oid, { critical: critical ? derBoolean(critical) : false, value });
  }
  return found;
}

const READERS = {
  basicConstraints: { oid: OID.basicConstraints, read: readBasicConstraints },
  keyUsage: { oid: OID.keyUsage, read: readKeyUsage },
  extendedKeyUsage: { oid: OID.extendedKeyUsage, read: readExtendedKeyUsage },
  subjectAltNames: { oid: OID.subjectAltName, read: readAlternativeNames },
  subjectKeyIdentifier: { oid: OID.subjectKeyIdentifier, read: derOctets },
  authorityKeyIdentifier: { oid: OID.authorityKeyIdentifier, read: readAuthorityKeyIdentifier },
} as const;

const KNOWN = new Set<string>(Object.values(READERS).map(({ oid }) => oid));

/** The extensions that this module understands, read. */
export function readKnownExtensions(extensions: Extensions): KnownExtensions {
  const entries = Object.entries(READERS).flatMap(([name, { oid, read }]) => {
    const extension = extensions.get(oid);
    const value = extension && read(parseDer(extension.value));
    return value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(entries);
}

/** OIDs of critical extensions that this module does not understand. */
export function listUnknownCritical(extensions: Extensions): string[] {
  return [...extensions].flatMap(([oid, { critical }]) => (critical && !KNOWN.has(oid) ? [oid] : []));
}

function readBasicConstraints(node: DerNode): { ca: boolean; pathLength?: number } {
  const fields = new DerFields(node);
  const flag = fields.takeUniversal(DER_TAG.boolean);
  const length = fields.takeUniversal(DER_TAG.integer);
  fields.end();
  const ca = flag ? derBoolean(flag) : false;
  if (length && !ca) throw refuse("a path length without the CA flag");
  return length ? { ca, pathLength: derSmallInteger(length) } : { ca };
}

function readKeyUsage(node: DerNode): ReadonlySet<KeyUsage> {
  const usages = derNamedBits(node).flatMap((bit) => KEY_USAGES[bit] ?? []);
  if (usages.length === 0) throw refuse("key usage without a usage");
  return new Set(usages);
}

function readExtendedKeyUsage(node: DerNode): string[] {
  const purposes = derSequence(node).map(derOid);
  if (purposes.length === 0) throw refuse("extended key usage without a purpose");
  return purposes;
}

/** AuthorityKeyIdentifier; undefined when it names the issuer only otherwise. */
export function readAuthorityKeyIdentifier(node: DerNode): Uint8Array | undefined {
  const fields = new DerFields(node);
  const keyId = fields.takeContext(0);
  fields.takeContext(1);
  fields.takeContext(2);
  fields.end();
  if (keyId?.tag.constructed) throw refuse("authority key identifier");
  return keyId?.content;
}

const NAME_KINDS = ["other", "email", "dns", "x400", "directory", "edi", "uri", "ip", "oid"] as const;
const TEXT_KINDS = new Set(["email", "dns", "uri"]);

function readAlternativeNames(node: DerNode): AlternativeName[] {
  const nodes = derSequence(node);
  if (nodes.length === 0 || nodes.length > CODEC_LIMITS.alternativeNames) throw refuse("number of alternative names");
  return nodes.map(readAlternativeName);
}

function readAlternativeName(node: DerNode): AlternativeName {
  const kind = NAME_KINDS[node.tag.number];
  if (!kind || !isContext(node, node.tag.number)) throw refuse("kind of an alternative name");
  if (!TEXT_KINDS.has(kind)) {
    return { kind, value: toHex(kind === "directory" ? derInner(node).raw : node.content) };
  }
  const value = Buffer.from(node.content).toString("latin1");
  if (node.tag.constructed || !/^[\x21-\x7e]+$/.test(value)) throw refuse("characters of an alternative name");
  return { kind, value };
}
