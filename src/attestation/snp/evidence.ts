/** The attestation report of SEV-SNP: 1184 bytes, little-endian (AMD 56860, ATTESTATION_REPORT). */
import { evidenceRefused } from "../errors.ts";
import { SNP_LIMITS } from "./limits.ts";
import { productOfCpuid, readTcb, type SnpProduct, type SnpTcb, tcbLayout } from "./products.ts";

export type SigningKey = "VCEK" | "VLEK" | "none" | "unknown";

export interface FirmwareVersion {
  readonly major: number;
  readonly minor: number;
  readonly build: number;
}

export interface SnpReport {
  /** The whole report. */
  readonly raw: Uint8Array;
  /** 2, 3 or 5. */
  readonly version: number;
  readonly guestSvn: number;
  readonly policy: bigint;
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  /** 0 to 3; 0xffffffff where the host asked for the report. */
  readonly vmpl: number;
  readonly platformInfo: bigint;
  readonly authorKeyEnabled: boolean;
  readonly signingKey: SigningKey;
  readonly reportData: Uint8Array;
  readonly measurement: Uint8Array;
  readonly hostData: Uint8Array;
  readonly idKeyDigest: Uint8Array;
  readonly authorKeyDigest: Uint8Array;
  readonly reportId: Uint8Array;
  readonly reportIdMa: Uint8Array;
  /** Absent in version 2. */
  readonly cpuid?: { readonly family: number; readonly model: number; readonly stepping: number };
  /** By CPUID; absent in version 2 and for a processor that is not known here. */
  readonly product?: SnpProduct;
  /** 64 bytes; all zero when the platform masks it. */
  readonly chipId: Uint8Array;
  readonly tcb: {
    readonly current: SnpTcb;
    readonly reported: SnpTcb;
    readonly committed: SnpTcb;
    readonly launch: SnpTcb;
  };
  readonly firmware: { readonly current: FirmwareVersion; readonly committed: FirmwareVersion };
  /** From version 5 on: what was mitigated when the guest was launched, and now. */
  readonly mitigations?: { readonly launch: bigint; readonly current: bigint };
  /** True when a byte that this version reserves is not zero. */
  readonly reservedSet: boolean;
  /** r and s, big-endian, 48 bytes each. */
  readonly signature: Uint8Array;
  /** The bytes that the signature covers. */
  readonly signedBytes: Uint8Array;
}

const VERSIONS = new Set([2, 3, 5]);
const SIGNING_KEYS: readonly (SigningKey | undefined)[] = [
  "VCEK",
  "VLEK",
  undefined,
  undefined,
  undefined,
  undefined,
  undefined,
  "none",
];

/**
 * Reads a report. Throws EVIDENCE_REFUSED with `snp.report.length`, `snp.report.version`, `snp.report.algorithm` or
 * `snp.report.signature-padding`.
 */
export function parseSnpReport(raw: Uint8Array): SnpReport {
  if (raw.length !== SNP_LIMITS.reportBytes) throw evidenceRefused("snp.report.length");
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const version = view.getUint32(0, true);
  if (!VERSIONS.has(version)) throw evidenceRefused("snp.report.version");
  if (view.getUint32(0x34, true) !== 1) throw evidenceRefused("snp.report.algorithm");
  const cpuid = version >= 3 ? { family: at(raw, 0x188), model: at(raw, 0x189), stepping: at(raw, 0x18a) } : undefined;
  const product = cpuid && productOfCpuid(cpuid.family, cpuid.model);
  return {
    raw,
    version,
    ...readIdentity(raw, view),
    ...readPlatform(raw, view, cpuid?.family),
    ...(cpuid ? { cpuid } : {}),
    ...(product ? { product } : {}),
    ...(version >= 5
      ? { mitigations: { launch: view.getBigUint64(0x1f8, true), current: view.getBigUint64(0x200, true) } }
      : {}),
    reservedSet: hasReserved(raw, version, cpuid?.family),
    signature: readSignature(raw.subarray(SNP_LIMITS.signedBytes)),
    signedBytes: raw.subarray(0, SNP_LIMITS.signedBytes),
  };
}

function readIdentity(raw: Uint8Array, view: DataView) {
  const keyInfo = view.getUint32(0x48, true);
  return {
    guestSvn: view.getUint32(0x04, true),
    policy: view.getBigUint64(0x08, true),
    familyId: raw.subarray(0x10, 0x20),
    imageId: raw.subarray(0x20, 0x30),
    vmpl: view.getUint32(0x30, true),
    authorKeyEnabled: (keyInfo & 1) === 1,
    signingKey: SIGNING_KEYS[(keyInfo >> 2) & 7] ?? ("unknown" as const),
    reportData: raw.subarray(0x50, 0x90),
    measurement: raw.subarray(0x90, 0xc0),
    hostData: raw.subarray(0xc0, 0xe0),
    idKeyDigest: raw.subarray(0xe0, 0x110),
    authorKeyDigest: raw.subarray(0x110, 0x140),
    reportId: raw.subarray(0x140, 0x160),
    reportIdMa: raw.subarray(0x160, 0x180),
  };
}

function readPlatform(raw: Uint8Array, view: DataView, family: number | undefined) {
  const tcb = (offset: number) => readTcb(raw.subarray(offset, offset + 8), family);
  const firmware = (offset: number) => ({
    build: at(raw, offset),
    minor: at(raw, offset + 1),
    major: at(raw, offset + 2),
  });
  return {
    platformInfo: view.getBigUint64(0x40, true),
    chipId: raw.subarray(0x1a0, 0x1e0),
    tcb: { current: tcb(0x38), reported: tcb(0x180), committed: tcb(0x1e0), launch: tcb(0x1f0) },
    firmware: { current: firmware(0x1e8), committed: firmware(0x1ec) },
  };
}

/** Bytes that each known version reserves; the signature covers them, a newer firmware may give them a meaning. */
function hasReserved(raw: Uint8Array, version: number, family: number | undefined): boolean {
  const places = [
    [0x4c, 0x50],
    [version >= 3 ? 0x18b : 0x188, 0x1a0],
    [0x1eb, 0x1ec],
    [0x1ef, 0x1f0],
    [version >= 5 ? 0x208 : 0x1f8, 0x2a0],
  ] as const;
  if (places.some(([from, to]) => !isZero(raw.subarray(from, to))) || (at(raw, 0x48) & 0xe0) !== 0) return true;
  const used = new Set(Object.values(tcbLayout(family)));
  const tcbs = [0x38, 0x180, 0x1e0, 0x1f0];
  return (
    !isZero(raw.subarray(0x49, 0x4c)) ||
    tcbs.some((offset) => raw.subarray(offset, offset + 8).some((byte, index) => byte !== 0 && !used.has(index)))
  );
}

/** r and s are 72 bytes each, little-endian; only 48 may be used, and nothing may follow them. */
function readSignature(bytes: Uint8Array): Uint8Array {
  const padding = [bytes.subarray(48, 72), bytes.subarray(120)];
  if (!padding.every(isZero)) throw evidenceRefused("snp.report.signature-padding");
  const out = new Uint8Array(96);
  out.set(bytes.slice(0, 48).reverse(), 0);
  out.set(bytes.slice(72, 120).reverse(), 48);
  return out;
}

export const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

const at = (bytes: Uint8Array, offset: number): number => bytes[offset] ?? 0;
