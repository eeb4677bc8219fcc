/** An SEV-SNP platform of our own: roots that look like AMD's, keys of chips and providers, and the reports they sign. */
import { generateKeyPairSync, sign } from "node:crypto";
import { type SnpAnchors, type SnpProduct, type SnpTcb, writeTcb } from "../../../src/attestation/snp/products.ts";
import {
  type CertificateOptions,
  type Der,
  type ExtensionOptions,
  ia5String,
  integer,
  type Keys,
  makeAuthority,
  makeCertificate,
  makeCrl,
  name,
  type Party,
  sha,
} from "../../support/der-writer.ts";

export const NOW = Date.UTC(2026, 5, 1);
export const DAY = 24 * 3600 * 1000;
const YEAR = 365 * DAY;
const PSS = { algorithm: "pss-sha384" } as const;

export const amdName = (commonName: string, organization = "Advanced Micro Devices"): Der =>
  name(["2.5.4.11", "Engineering"], ["2.5.4.6", "US"], ["2.5.4.10", organization], ["2.5.4.3", commonName]);

let caKeys: Keys | undefined;
/** One RSA-4096 pair for every authority: making one takes a second. */
function sharedCaKeys(): Keys {
  caKeys ??= generateKeyPairSync("rsa", { modulusLength: 4096 });
  return caKeys;
}

export interface Platform {
  readonly product: SnpProduct;
  readonly ark: Party;
  /** ASK, or ASVK where a provider's key signs. */
  readonly ask: Party;
  readonly anchors: SnpAnchors;
}

export interface PlatformOptions {
  readonly product?: SnpProduct;
  readonly kind?: "VCEK" | "VLEK";
  readonly ark?: Partial<CertificateOptions>;
  readonly ask?: Partial<CertificateOptions>;
}

export function makePlatform({ product = "Genoa", kind = "VCEK", ...options }: PlatformOptions = {}): Platform {
  const ark = makeAuthority({ subject: amdName(`ARK-${product}`), keys: sharedCaKeys(), ...PSS, ...options.ark });
  const ask = makeAuthority({
    subject: amdName(kind === "VLEK" ? `SEV-VLEK-${product}` : `SEV-${product}`),
    issuer: ark,
    keys: sharedCaKeys(),
    ...(options.ask?.ca === false ? {} : { pathLength: 0 }),
    ...PSS,
    ...options.ask,
  });
  const pin = Buffer.from(sha("sha256", ark.der)).toString("hex");
  return { product, ark, ask, anchors: { Milan: [], Genoa: [], Turin: [], [product]: [pin] } };
}

const BASE = "1.3.6.1.4.1.3704.1";

export interface VekOptions {
  readonly kind?: "VCEK" | "VLEK";
  readonly tcb?: SnpTcb;
  /** Content of the extension. */
  readonly hardwareId?: Uint8Array | undefined;
  readonly productName?: string;
  readonly cspId?: string | undefined;
  readonly extraExtensions?: readonly ExtensionOptions[];
  readonly certificate?: Partial<CertificateOptions>;
}

export const TCB: SnpTcb = { bootloader: 10, tee: 0, snp: 27, microcode: 27 };
export const TURIN_TCB: SnpTcb = { fmc: 1, ...TCB };
export const CHIP = Uint8Array.from({ length: 64 }, (_, index) => index + 1);
export const TURIN_CHIP = Uint8Array.from({ length: 64 }, (_, index) => (index < 8 ? index + 1 : 0));
export const CSP = "CN=cc-test.example";

export const tcbOf = (product: SnpProduct): SnpTcb => (product === "Turin" ? TURIN_TCB : TCB);
export const chipOf = (product: SnpProduct): Uint8Array => (product === "Turin" ? TURIN_CHIP : CHIP);

/** A VCEK, or a VLEK, under the platform's ASK. */
export function makeVek(platform: Platform, options: VekOptions = {}): Party {
  const { product } = platform;
  const { kind = "VCEK", tcb = tcbOf(product), productName = product } = options;
  const usual = kind === "VLEK" ? undefined : chipOf(product).subarray(0, product === "Turin" ? 8 : 64);
  const hardwareId = "hardwareId" in options ? options.hardwareId : usual;
  const cspId = "cspId" in options ? options.cspId : kind === "VLEK" ? CSP : undefined;
  const level = (arc: number, value: number) => ({ oid: `${BASE}.3.${arc}`, value: integer(value) });
  return makeCertificate({
    subject: amdName(`SEV-${kind}`),
    issuer: platform.ask,
    keyKind: "P-384",
    serial: 0n,
    keyIdentifiers: false,
    notBefore: NOW - YEAR / 2,
    notAfter: NOW + (kind === "VLEK" ? 0.5 : 6.5) * YEAR,
    extensions: [
      { oid: `${BASE}.1`, value: integer(product === "Turin" ? 1 : 0) },
      { oid: `${BASE}.2`, value: ia5String(productName) },
      level(1, tcb.bootloader),
      level(2, tcb.tee),
      level(3, tcb.snp),
      level(8, tcb.microcode),
      ...(tcb.fmc === undefined ? [] : [level(9, tcb.fmc)]),
      ...(hardwareId ? [{ oid: `${BASE}.4`, value: hardwareId }] : []),
      ...(cspId === undefined ? [] : [{ oid: `${BASE}.5`, value: ia5String(cspId) }]),
      ...(options.extraExtensions ?? []),
    ],
    ...PSS,
    ...options.certificate,
  });
}

export const CPUID: Readonly<Record<SnpProduct, readonly [number, number]>> = {
  Milan: [0x19, 0x01],
  Genoa: [0x19, 0x11],
  Turin: [0x1a, 0x02],
};

export interface ReportOptions {
  readonly product?: SnpProduct;
  readonly version?: number;
  readonly cpuid?: readonly [number, number];
  readonly tcb?: SnpTcb;
  readonly chip?: Uint8Array;
  readonly signingKey?: 0 | 1 | 7;
  /** Last word on every byte before the signature. */
  readonly change?: (report: Buffer) => void;
}

/** The first 672 bytes of a sound report: no debugging, no migration, everything committed. */
export function writeReport(options: ReportOptions = {}): Buffer {
  const { product = "Genoa", version = 5, signingKey = 0 } = options;
  const [family, model] = options.cpuid ?? CPUID[product];
  const { tcb = tcbOf(product), chip = chipOf(product) } = options;
  const out = Buffer.alloc(0x4a0);
  out.writeUInt32LE(version, 0);
  out.writeBigUInt64LE(0x3_0000n, 8);
  out.writeUInt32LE(1, 0x34);
  out.writeBigUInt64LE(0x25n, 0x40);
  out.writeUInt32LE(signingKey << 2, 0x48);
  out.fill(0x11, 0x50, 0x90);
  out.fill(0x22, 0x90, 0xc0);
  out.fill(0xff, 0x160, 0x180);
  if (version >= 3) out.set([family, model, 2], 0x188);
  out.set(chip, 0x1a0);
  for (const place of [0x38, 0x180, 0x1e0, 0x1f0]) out.set(writeTcb(tcb, version >= 3 ? family : undefined), place);
  for (const place of [0x1e8, 0x1ec]) out.set([49, 55, 1], place);
  options.change?.(out);
  return out;
}

/** Signs the report as the firmware does: r and s little-endian in 72 bytes each. */
export function signReport(report: Buffer, vek: Pick<Party, "privateKey">): Uint8Array {
  const key = { key: vek.privateKey, dsaEncoding: "ieee-p1363" } as const;
  const signature = sign("sha384", report.subarray(0, 0x2a0), key);
  report.fill(0, 0x2a0);
  report.set(signature.subarray(0, 48).reverse(), 0x2a0);
  report.set(signature.subarray(48).reverse(), 0x2e8);
  return new Uint8Array(report);
}

export const makeReport = (vek: Pick<Party, "privateKey">, options: ReportOptions = {}): Uint8Array =>
  signReport(writeReport(options), vek);

export interface AmdCrlOptions {
  readonly revoked?: readonly bigint[];
  readonly thisUpdate?: number;
  readonly nextUpdate?: number;
  readonly issuer?: Party;
}

const usualCrls = new Map<Platform, Der>();
/** A list that is current and empty, made once: signing with RSA-4096 is slow. */
export function usualCrl(platform: Platform): Der {
  const made = usualCrls.get(platform) ?? makeAmdCrl(platform);
  usualCrls.set(platform, made);
  return made;
}

export function makeAmdCrl(platform: Platform, options: AmdCrlOptions = {}): Der {
  const { revoked = [], thisUpdate = NOW - YEAR / 12, nextUpdate = NOW + YEAR / 12, issuer = platform.ark } = options;
  return makeCrl({
    issuer,
    thisUpdate,
    nextUpdate,
    revoked: revoked.map((serial) => ({ serial, at: thisUpdate })),
    ...PSS,
  });
}
