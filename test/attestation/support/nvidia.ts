/** NVIDIA's recorded evidence, and devices, manifests and tokens of a test authority that mimics NVIDIA's profile. */
import { createHash, randomBytes, sign } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type NvidiaProfile, nvidiaProfile } from "../../../src/attestation/nvidia/profile.ts";
import type { Verdict } from "../../../src/attestation/verdict.ts";
import { concatBytes, toBase64, toHex, utf8 } from "../../../src/base/index.ts";
import { toPem } from "../../../src/codec/index.ts";
import {
  type CertificateOptions,
  makeAuthority,
  makeCertificate,
  makeKeys,
  name,
  octets,
  oid,
  type Party,
  sequence,
} from "../../support/der-writer.ts";

const VECTORS = process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../../shared/vectors");
const FOLDER = join(VECTORS, "tee/nvidia-gpu");
export const ABSENT = existsSync(FOLDER)
  ? false
  : "no vectors: set MODELKEEP_VECTORS to the folder with tee/nvidia-gpu";

export const vector = (path: string): Uint8Array => new Uint8Array(readFileSync(join(FOLDER, path)));
export const vectorText = (path: string): string => readFileSync(join(FOLDER, path), "utf8");
export const vectorReport = (path: string): Uint8Array => Uint8Array.from(Buffer.from(vectorText(path).trim(), "hex"));

export const profileOf = (exceptions: Partial<NvidiaProfile> = {}): NvidiaProfile => nvidiaProfile.parse(exceptions);

export const failedRules = ({ rules }: Verdict<unknown>): string[] =>
  rules.filter(({ result }) => result === "failed").map(({ id }) => id);

export const digestOf = (der: Uint8Array): string => createHash("sha256").update(der).digest("hex");

export const CC_ON = { cc_feature: "ON", devtools_mode: "OFF", environment: "PRODUCTION" } as const;
export const NOW = Date.UTC(2026, 5, 1);

const u16 = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
const u24 = (value: number) => Uint8Array.of(value & 0xff, (value >> 8) & 0xff, value >> 16);
const text = (value: string) => utf8(`${value}\0`);

export const FWID = new Uint8Array(48).fill(0xf1);
export const golden = (index: number): Uint8Array =>
  new Uint8Array(createHash("sha384").update(`measurement ${index}`).digest());

export interface ReportOptions {
  readonly nonce?: Uint8Array;
  /** By block index from 1. */
  readonly measurements?: ReadonlyMap<number, Uint8Array>;
  /** Replaces fields of the opaque data by type; undefined leaves one out. */
  readonly fields?: ReadonlyMap<number, Uint8Array | undefined>;
  readonly trailing?: Uint8Array;
}

export const NONCE = new Uint8Array(32).fill(7);

/** 40 blocks, driver 580.1, VBIOS 96.00.74.00.20, mode SPT. */
export function writeReport(key: Party["privateKey"], options: ReportOptions = {}): Uint8Array {
  const measurements = options.measurements ?? new Map(Array.from({ length: 40 }, (_, i) => [i + 1, golden(i)]));
  const blocks = [...measurements].map(([index, value]) =>
    concatBytes(Uint8Array.of(index, 1), u16(value.length + 3), Uint8Array.of(1), u16(value.length), value),
  );
  const record = concatBytes(...blocks);
  const usual: [number, Uint8Array][] = [
    [3, text("580.1")],
    [6, Uint8Array.of(0, 0x74, 0, 0x96, 0x20, 0, 0, 0)],
    [11, Uint8Array.of(0x55)],
    [15, text("862")],
    [17, text("1010")],
    [18, text("0205")],
    [20, FWID],
    [21, Uint8Array.of(0x55)],
    [36, Uint8Array.of(0, 0)],
  ];
  const fields = new Map<number, Uint8Array | undefined>([...usual, ...(options.fields ?? [])]);
  const opaque = concatBytes(
    ...[...fields].flatMap(([type, value]) => (value ? [u16(type), u16(value.length), value] : [])),
  );
  const signed = concatBytes(
    Uint8Array.of(0x11, 0xe0, 1, 0xff),
    options.nonce ?? NONCE,
    Uint8Array.of(0, 0x11, 0x60, 0, 0, blocks.length),
    u24(record.length),
    record,
    randomBytes(32),
    u16(opaque.length),
    opaque,
  );
  const signature = sign("sha384", signed, { key, dsaEncoding: "ieee-p1363" });
  return concatBytes(signed, signature, options.trailing ?? new Uint8Array());
}

export interface Device {
  /** Leaf, chip, factory, identity, root. */
  readonly parties: readonly [Party, Party, Party, Party, Party];
  readonly pem: string;
  readonly anchor: string;
}

export interface DeviceOptions {
  readonly root?: Party;
  readonly leaf?: Partial<CertificateOptions>;
  readonly chip?: Partial<CertificateOptions>;
  readonly model?: string;
  readonly fwid?: Uint8Array;
}

const subject = (commonName: string, serial?: string) =>
  name(...(serial ? [["2.5.4.5", serial] as const] : []), ["2.5.4.10", "NVIDIA Corporation"], ["2.5.4.3", commonName]);
const P384 = { keyKind: "P-384" } as const;

export function makeDeviceRoot(): Party {
  return makeAuthority({ subject: subject("NVIDIA Device Identity CA"), ...P384 });
}

/** A chain as a GH100 has it, of another authority. */
export function makeDevice(options: DeviceOptions = {}): Device {
  const root = options.root ?? makeDeviceRoot();
  const identity = makeAuthority({ subject: subject("NVIDIA GH100 Identity"), issuer: root, ...P384 });
  const factory = makeAuthority({ subject: subject("NVIDIA GH100 Provisioner ICA 1"), issuer: identity, ...P384 });
  const serial = `41${toHex(randomBytes(8)).toUpperCase()}`;
  const model = options.model ?? "GH100 A01 GSP";
  const chip = makeAuthority({ subject: subject(`${model} BROM`, serial), issuer: factory, ...P384, ...options.chip });
  const pair = sequence(oid("2.16.840.1.101.3.4.2.2"), octets(options.fwid ?? FWID));
  const leaf = makeCertificate({
    subject: subject(`${model} FMC LF`, "53"),
    issuer: chip,
    keyUsage: ["digitalSignature"],
    extensions: [{ oid: "2.23.133.5.4.1", value: sequence(pair) }],
    ...P384,
    ...options.leaf,
  });
  const parties = [leaf, chip, factory, identity, root] as const;
  return { parties, pem: pemOf(parties), anchor: digestOf(root.der) };
}

export const pemOf = (parties: readonly Party[]): string =>
  parties.map(({ der }) => toPem("CERTIFICATE", der)).join("");

export interface RimSigner {
  /** Signer, two authorities, root. */
  readonly parties: readonly Party[];
  readonly anchor: string;
}

export function makeRimSigner(options: { leaf?: Partial<CertificateOptions>; root?: Party } = {}): RimSigner {
  const root = options.root ?? makeAuthority({ subject: subject("NVIDIA CoRIM signing Root CA"), ...P384 });
  const upper = makeAuthority({ subject: subject("NVIDIA Reference Value GH100 CA"), issuer: root, ...P384 });
  const lower = makeAuthority({ subject: subject("NVIDIA Reference Value L3"), issuer: upper, pathLength: 0, ...P384 });
  const leaf = makeCertificate({
    subject: subject("HCC RIM L4 Signer"),
    issuer: lower,
    ca: false,
    keyUsage: ["digitalSignature"],
    ...P384,
    ...options.leaf,
  });
  return { parties: [leaf, lower, upper, root], anchor: digestOf(root.der) };
}

export interface RimOptions {
  readonly version: string;
  readonly product?: string;
  /** Values by index from 0; inactive ones are not written. */
  readonly active: ReadonlyMap<number, readonly Uint8Array[]>;
  /** Extra markup in the payload. */
  readonly extra?: string;
}

const SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const SHA384_NS = "http://www.w3.org/2001/04/xmlenc#sha384";
const DSIG = "http://www.w3.org/2000/09/xmldsig#";
const C14N11 = "http://www.w3.org/2006/12/xml-c14n11";

/** The manifest without its signature, written in canonical form. */
export function writeRimBody({ version, product = "GH100", active, extra = "" }: RimOptions): string {
  const resources = [...active].map(([index, values]) => {
    const hashes = values.map((value, i) => ` ns2:Hash${i}="${toHex(value)}"`).join("");
    const head = `active="True" alternatives="${values.length}" index="${index}" name="M_${index}" size="48"`;
    return `<Resource ${head} type="Measurement"${hashes}></Resource>`;
  });
  const meta = `<Meta colloquialVersion="${version}" edition="GPU" product="${product}"></Meta>`;
  return `<SoftwareIdentity xmlns="${SWID}" xmlns:ns2="${SHA384_NS}" name="${product}" version="1.0">${meta}<Payload>${resources.join("")}${extra}</Payload></SoftwareIdentity>`;
}

/** Enveloped signature as NVIDIA writes it; `body` is canonical, so that nothing has to be transformed. */
export function signRimBody(body: string, { parties }: RimSigner): string {
  const digest = createHash("sha384").update(body).digest("base64");
  const inner =
    `<ds:CanonicalizationMethod Algorithm="${C14N11}"></ds:CanonicalizationMethod>` +
    `<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"></ds:SignatureMethod>` +
    `<ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="${DSIG}enveloped-signature"></ds:Transform>` +
    `<ds:Transform Algorithm="${C14N11}"></ds:Transform></ds:Transforms>` +
    `<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"></ds:DigestMethod>` +
    `<ds:DigestValue>${digest}</ds:DigestValue></ds:Reference>`;
  const scope = `xmlns="${SWID}" xmlns:ds="${DSIG}" xmlns:ns2="${SHA384_NS}"`;
  const [leaf] = parties;
  if (!leaf) throw new Error("no signer");
  const canonical = `<ds:SignedInfo ${scope}>${inner}</ds:SignedInfo>`;
  const value = sign("sha384", utf8(canonical), { key: leaf.privateKey, dsaEncoding: "ieee-p1363" });
  const certificates = parties.map(({ der }) => `<ds:X509Certificate>${toBase64(der)}</ds:X509Certificate>`).join("");
  const signature =
    `<ds:Signature xmlns:ds="${DSIG}"><ds:SignedInfo>${inner}</ds:SignedInfo>` +
    `<ds:SignatureValue>${value.toString("base64")}</ds:SignatureValue>` +
    `<ds:KeyInfo><ds:X509Data>${certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>`;
  return body.replace("</SoftwareIdentity>", () => `${signature}</SoftwareIdentity>`);
}

export const makeRim = (options: RimOptions, signer: RimSigner): Uint8Array =>
  utf8(signRimBody(writeRimBody(options), signer));

/** A machine of the test authority: one GPU, both manifests, everything in order. */
export function makeWorld() {
  const device = makeDevice();
  const signer = makeRimSigner();
  const active = (from: number, to: number) =>
    new Map(Array.from({ length: to - from }, (_, i) => [from + i, [golden(from + i)]] as const));
  const rims = [
    makeRim({ version: "580.1", active: active(0, 20) }, signer),
    makeRim({ version: "96.00.74.00.20", active: active(20, 35) }, signer),
  ];
  return { device, signer, rims, anchors: { device: [device.anchor], rim: [signer.anchor] } };
}

/** The attestation service: its key, its key set, and a writer of tokens. */
export function makeNras(leaf: Partial<CertificateOptions> = {}) {
  const intermediate = makeAuthority({ subject: "Attestation Service Intermediate", keyKind: "P-384" });
  const keys = makeKeys("P-384");
  const certificate = makeCertificate({
    subject: "Attestation Service GPU",
    issuer: intermediate,
    keyUsage: ["digitalSignature"],
    notBefore: NOW - 3_600_000,
    notAfter: NOW + 47 * 3_600_000,
    ...leaf,
    keys: leaf.keys ?? keys,
  });
  const jwk = keys.publicKey.export({ format: "jwk" });
  const x5c = [certificate.der, intermediate.der].map(toBase64);
  const token = (claims: object, header: object = { alg: "ES384", kid: "k1" }): string => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part(header)}.${part(claims)}`;
    const signature = sign("sha384", utf8(signed), { key: keys.privateKey, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  };
  return {
    jwks: utf8(JSON.stringify({ keys: [{ ...jwk, kid: "k1", x5c }] })),
    anchor: digestOf(intermediate.der),
    token,
  };
}
