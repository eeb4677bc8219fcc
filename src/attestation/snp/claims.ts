/** What an SEV-SNP report says about its guest and its platform. */
import { toHex } from "../../base/index.ts";
import type { FirmwareVersion, SigningKey, SnpReport } from "./evidence.ts";
import type { SnpProduct, SnpTcb } from "./products.ts";
import { PLATFORM_BITS } from "./profile.ts";

/** Where a policy of the guest has its flags (AMD 56860, GUEST_POLICY). */
export const POLICY_BITS = {
  smt_allowed: 16n,
  migration_allowed: 18n,
  debug_allowed: 19n,
  single_socket: 20n,
  cxl_allowed: 21n,
  memory_aes_256_xts: 22n,
  rapl_disabled: 23n,
  ciphertext_hiding: 24n,
  page_swap_disabled: 25n,
} as const;

export type PolicyFlag = keyof typeof POLICY_BITS;

/** Byte strings are lower-case hex. */
export interface SnpClaims {
  readonly reportVersion: number;
  /** Absent where neither the report nor its certificate names a known one. */
  readonly product?: SnpProduct;
  readonly measurement: string;
  readonly debug: boolean;
  readonly reportData: Uint8Array;
  readonly hostData: string;
  readonly vmpl: number;
  readonly guestSvn: number;
  readonly policy: {
    readonly raw: bigint;
    readonly minimumAbi: { readonly major: number; readonly minor: number };
    readonly flags: readonly PolicyFlag[];
  };
  readonly platform: { readonly raw: bigint; readonly flags: readonly (keyof typeof PLATFORM_BITS)[] };
  readonly tcb: {
    readonly current: SnpTcb;
    readonly reported: SnpTcb;
    readonly committed: SnpTcb;
    readonly launch: SnpTcb;
  };
  readonly firmware: { readonly current: FirmwareVersion; readonly committed: FirmwareVersion };
  readonly mitigations?: { readonly launch: bigint; readonly current: bigint };
  readonly signingKey: SigningKey;
  /** The cloud provider that the VLEK names. */
  readonly cspId?: string;
  readonly chipId: string;
  readonly familyId: string;
  readonly imageId: string;
  readonly idKeyDigest: string;
  readonly authorKeyDigest: string;
  readonly reportId: string;
  readonly migrationAgent: string;
}

export const hasBit = (value: bigint, bit: bigint): boolean => ((value >> bit) & 1n) === 1n;

const flagsOf = <T extends string>(value: bigint, bits: Readonly<Record<T, bigint>>): T[] =>
  (Object.keys(bits) as T[]).filter((flag) => hasBit(value, bits[flag]));

export function policyAbi(policy: bigint): { major: number; minor: number } {
  return { major: Number((policy >> 8n) & 0xffn), minor: Number(policy & 0xffn) };
}

export function claimsOfReport(
  report: SnpReport,
  certified: { readonly product?: SnpProduct | undefined; readonly cspId?: string | undefined } = {},
): SnpClaims {
  const product = report.product ?? certified.product;
  return {
    reportVersion: report.version,
    ...(product ? { product } : {}),
    measurement: toHex(report.measurement),
    debug: hasBit(report.policy, POLICY_BITS.debug_allowed),
    reportData: report.reportData.slice(),
    hostData: toHex(report.hostData),
    vmpl: report.vmpl,
    guestSvn: report.guestSvn,
    policy: {
      raw: report.policy,
      minimumAbi: policyAbi(report.policy),
      flags: flagsOf(report.policy, POLICY_BITS),
    },
    platform: { raw: report.platformInfo, flags: flagsOf(report.platformInfo, PLATFORM_BITS) },
    tcb: report.tcb,
    firmware: report.firmware,
    ...(report.mitigations ? { mitigations: report.mitigations } : {}),
    signingKey: report.signingKey,
    ...(certified.cspId === undefined ? {} : { cspId: certified.cspId }),
    chipId: toHex(report.chipId),
    familyId: toHex(report.familyId),
    imageId: toHex(report.imageId),
    idKeyDigest: toHex(report.idKeyDigest),
    authorKeyDigest: toHex(report.authorKeyDigest),
    reportId: toHex(report.reportId),
    migrationAgent: toHex(report.reportIdMa),
  };
}
